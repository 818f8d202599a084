import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/** A process as no other can be: pids are reused, a pid with its start time is not. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks since the host's boot, field 22 of /proc/<pid>/stat; null where there is no /proc. */
  readonly startTicks: number | null
}

export function identityOf(pid: number): ProcessIdentity | null {
  const stat = readOrNull(`/proc/${pid}/stat`)
  if (stat === null) return process.platform === 'linux' || !answers(pid) ? null : { pid, startTicks: null }
  // The name in parentheses may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' ? null : { pid, startTicks: Number(fields[19]) }
}

export function isAlive(identity: ProcessIdentity): boolean {
  const found = identityOf(identity.pid)
  return found !== null && found.startTicks === identity.startTicks
}

/** Waits until a process that is not our child has ended. @returns false when it still runs after `timeoutMs` */
export async function gone(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  for (const until = performance.now() + timeoutMs; isAlive(identity);) {
    if (performance.now() > until) return false
    await delay(50) // the kernel tells only the parent of the end of a process
  }
  return true
}

/** Command lines of processes in which one of the words stands, this process left out. */
export function processesThatName(word: string): { pid: number; command: string }[] {
  const found: { pid: number; command: string }[] = []
  for (const name of process.platform === 'linux' ? readdirSync('/proc') : []) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue
    const command = (readOrNull(`/proc/${name}/cmdline`) ?? '').replaceAll('\0', ' ').trim()
    if (command.includes(word) && identityOf(Number(name)) !== null) found.push({ pid: Number(name), command })
  }
  return found
}

function answers(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null // it ended meanwhile, or there is no /proc
  }
}
