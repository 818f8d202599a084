import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

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
  try {
    process.kill(identity.pid, 'SIGKILL')
    return true
  } catch (error) {
    // It ended between the two.
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false
    throw error
  }
}

/** Variable in the environment of every process of a microVM that is none (the process driver): the name of its record. */
export const MARK_VARIABLE = 'SWARM_SLOT'

/** Processes of one record: named so among their arguments (QEMU; `--id` of the jailer and Firecracker), or marked so in the environment that they began with. */
export function processesMarked(slot: string): ProcessIdentity[] {
  return [...processesWithArgument(slot), ...processesWithArgument(`--id=${slot}`), ...processesWith('environ', `${MARK_VARIABLE}=${slot}`)]
}

/** Where a process works, links resolved; empty when it ended meanwhile, or is another user's. */
export function workingFolder(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return ''
  }
}

/** Processes that work in one of these folders, whatever became of their environment. */
export function processesIn(folders: readonly string[]): ProcessIdentity[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    const at = workingFolder(name)
    const identity = folders.some((each) => at === each || at.startsWith(`${each}/`)) ? identifyProcess(Number(name)) : null
    return identity === null ? [] : [identity]
  })
}

/** Processes that have this exact word among their arguments. */
export function processesWithArgument(word: string): ProcessIdentity[] {
  return processesWith('cmdline', word)
}

function processesWith(list: 'cmdline' | 'environ', word: string): ProcessIdentity[] {
  const found: ProcessIdentity[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    let words: string[]
    try {
      words = readFileSync(`/proc/${name}/${list}`, 'utf8').split('\0')
    } catch {
      continue // ended meanwhile, or is somebody else's
    }
    const identity = words.includes(word) ? identifyProcess(Number(name)) : null
    if (identity !== null) found.push(identity)
  }
  return found
}
