import { readdirSync, readFileSync } from 'node:fs'

/** A process as no other can be: pids are reused, a pid with its start time is not. */
export interface ProcessIdentity {
  pid: number
  /** Start time in clock ticks since the host's boot, field 22 of /proc/<pid>/stat. */
  startTicks: number
}

/** @returns null when there is no such process (a zombie counts as none) */
export function identifyProcess(pid: number): ProcessIdentity | null {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return null
  }
  // The name in parentheses may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' ? null : { pid, startTicks: Number(fields[19]) }
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.startTicks === identity.startTicks
}

export function ownIdentity(): ProcessIdentity {
  const identity = identifyProcess(process.pid)
  if (identity === null) throw new Error('/proc does not show this process')
  return identity
}

/** Kills for good, if it is still that process. @returns whether it was alive */
export function killProcess(identity: ProcessIdentity): boolean {
  if (!isAlive(identity)) return false
  process.kill(identity.pid, 'SIGKILL')
  return true
}

/** Processes that have this exact word among their arguments. */
export function processesWithArgument(word: string): ProcessIdentity[] {
  const found: ProcessIdentity[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    let words: string[]
    try {
      words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0')
    } catch {
      continue // ended meanwhile
    }
    const identity = words.includes(word) ? identifyProcess(Number(name)) : null
    if (identity !== null) found.push(identity)
  }
  return found
}
