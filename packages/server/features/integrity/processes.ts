import { existsSync, readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { parseJson } from '@swarm/core/json.ts'

/** What says that a platform runs on a home (packages/cli/platform/run-file.ts), as far as it is read here. */
const RunFile = z.object({ pid: z.number().int(), startTicks: z.number().nullable() })

/** Whether a server answers on this home: its run file names a process that lives, and not only one of the same pid. */
export function serverRuns(home: string): boolean {
  const file = join(home, 'run', 'server.json')
  if (!existsSync(file)) return false
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return false // it ended meanwhile
  }
  const parsed = RunFile.safeParse(parseJson(text))
  return parsed.success && alive(parsed.data.pid) && startTicksOf(parsed.data.pid) === parsed.data.startTicks
}

/** Owners are marked `<host>/<pid>/<boot>`; those of other hosts cannot be asked. */
export function ownerAlive(owner: string): boolean {
  const [host, pid] = owner.split('/')
  return host !== hostname() || alive(Number(pid))
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH')
  }
}

/** Clock ticks from the host's boot to the start of a process, field 22 of /proc/<pid>/stat; null where there is no /proc, or it is a zombie. */
function startTicksOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold spaces and parentheses itself.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? null : Number(fields[19])
  } catch {
    return null
  }
}
