import { spawn } from 'node:child_process'
import { MARK_VARIABLE } from '../../host/processes.ts'

/*
 * Reads from a pipe whose other end is the runner's alone. When the runner is gone, however that came, the pipe ends, and
 * everything marked with this slot is killed: an agent starts its commands in groups of their own, so neither its group nor
 * PR_SET_PDEATHSIG would reach them. Repeated until nothing is left, since what is killed may be starting something.
 */
const TETHER = `read -r _
while found=$(grep -lszx -- "$1" /proc/[0-9]*/environ); [ -n "$found" ]; do
  for file in $found; do pid=\${file#/proc/}; kill -s KILL "\${pid%/environ}"; done
  sleep 0.1
done`

/** Ties the processes of a slot to the life of this process. Dispose it when they have ended. */
export function tether(slot: string): Disposable {
  const child = spawn('/bin/sh', ['-c', TETHER, 'sh', `${MARK_VARIABLE}=${slot}`], { detached: true, stdio: ['pipe', 'ignore', 'ignore'], env: { PATH: process.env['PATH'] ?? '' } })
  child.unref()
  return { [Symbol.dispose]: () => { child.kill('SIGKILL') } }
}
