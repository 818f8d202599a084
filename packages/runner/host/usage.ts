import { readFileSync } from 'node:fs'

/** USER_HZ of Linux on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100

/** CPU time of a process and its threads, user and system, ms. @returns 0 when it is over */
export function readCpuMs(pid: number): number {
  const stat = readOrNull(`/proc/${pid}/stat`)
  if (stat === null) return 0
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND
}

/** Resident and proportional memory of a process, bytes. */
export function readMemory(pid: number): { rssBytes: number; pssBytes: number } {
  const rollup = readOrNull(`/proc/${pid}/smaps_rollup`) ?? ''
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0) * 1_024
  return { rssBytes: bytes('Rss'), pssBytes: bytes('Pss') }
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
