import { readdirSync, readFileSync } from 'node:fs'
import { run } from './run.ts'

/** USER_HZ of Linux on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100

/** CPU time of a process and its threads, user and system, ms. @returns 0 when it is over */
export function readCpuMs(pid: number): number {
  const stat = readOrNull(`/proc/${pid}/stat`)
  if (stat === null) return 0
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND
}

/** CPU time of a process, and of each of its threads the time in which it ran or waited for a CPU that others had (/proc/<pid>/task/<tid>/schedstat), ms. */
export function readScheduling(pid: number): { usedMs: number; busyMs: ReadonlyMap<string, number> } {
  let threads: string[] = []
  try {
    threads = readdirSync(`/proc/${pid}/task`)
  } catch {
    return { usedMs: 0, busyMs: new Map() } // it is over
  }
  const busyMs = new Map(threads.map((thread) => {
    const [ranNs, waitedNs] = (readOrNull(`/proc/${pid}/task/${thread}/schedstat`) ?? '').split(' ').map(Number)
    return [thread, ((ranNs || 0) + (waitedNs || 0)) / 1e6]
  }))
  return { usedMs: readCpuMs(pid), busyMs }
}

/** Resident and proportional memory of a process, and the pages that it has written itself, bytes. */
export function readMemory(pid: number): { rssBytes: number; pssBytes: number; privateBytes: number } {
  const rollup = readOrNull(`/proc/${pid}/smaps_rollup`) ?? ''
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0) * 1_024
  return { rssBytes: bytes('Rss'), pssBytes: bytes('Pss'), privateBytes: bytes('Anonymous') }
}

/** What the living processes of these process groups use, with the CPU time of those that they have waited for. */
export function readGroups(groups: ReadonlySet<number>): { cpuMs: number; rssBytes: number; pssBytes: number; privateBytes: number } {
  const total = { cpuMs: 0, rssBytes: 0, pssBytes: 0, privateBytes: 0 }
  for (const name of groups.size === 0 ? [] : readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? readOrNull(`/proc/${name}/stat`) : null
    if (stat === null) continue
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (!groups.has(Number(fields[2]))) continue
    // utime, stime, cutime, cstime
    total.cpuMs += (fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * 1_000) / TICKS_PER_SECOND
    const { rssBytes, pssBytes, privateBytes } = readMemory(Number(name))
    total.rssBytes += rssBytes
    total.pssBytes += pssBytes
    total.privateBytes += privateBytes
  }
  return total
}

/** Disk blocks that a folder takes with all that is in it, bytes; what vanishes meanwhile is left out. */
export async function readFolderBytes(path: string): Promise<number> {
  const { stdout, stderr } = await run(['du', '--summarize', '--one-file-system', '--block-size=1', path])
  const bytes = Number.parseInt(stdout, 10)
  if (Number.isNaN(bytes)) throw new Error(`du says nothing about ${path}: ${stderr.trim()}`)
  return bytes
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
