import { spawn } from 'node:child_process'
import { MARK_VARIABLE } from '../host/processes.ts'

/*
 * Reads from a pipe whose other end is the runner's alone. When the runner is gone, however that came, the pipe ends, and everything
 * that is named or marked as this slot (processes.ts) is killed. An agent of the process driver starts its commands in groups of
 * their own, and the jailer changes the user and leaves its child to init: neither a process group nor PR_SET_PDEATHSIG would reach
 * those. Repeated until nothing is left, since what is killed may be starting something. The name comes by the environment, in a
 * variable of another name: by an argument this shell and its grep would find themselves.
 */
const TETHER = `read -r _
while found=$(printf '%s\\n' "$TETHERED" "--id=$TETHERED" "$MARK=$TETHERED" | grep -lszxF -f - /proc/[0-9]*/cmdline /proc/[0-9]*/environ); [ -n "$found" ]; do
  for file in $found; do pid=\${file#/proc/}; kill -s KILL "\${pid%/*}"; done
  sleep 0.1
done`

/** Ties the processes of a slot to the life of this process. Dispose it when they have ended. */
export function tether(slot: string): Disposable {
  const child = spawn('/bin/sh', ['-c', TETHER], { detached: true, stdio: ['pipe', 'ignore', 'ignore'], env: { PATH: process.env['PATH'] ?? '', TETHERED: slot, MARK: MARK_VARIABLE } })
  child.unref()
  return { [Symbol.dispose]: () => { child.kill('SIGKILL') } }
}
