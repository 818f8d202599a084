import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/*
 * What must be undone even when the harness is killed is held by a shell of its own that reads from a pipe of ours: the kernel
 * closes the pipe when we end, however we end, and the shell undoes. (A stopped process would not even see its own tether.)
 */

/** Kept out of our process group, so that a Ctrl-C in a terminal does not end it before its time. */
async function keep(script: string, args: readonly string[]): Promise<AsyncDisposable> {
  const child: ChildProcess = spawn('/bin/sh', ['-c', script, 'chaos-keeper', ...args], { stdio: ['pipe', 'pipe', 'pipe'], detached: true })
  let problem = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => { problem += text })
  child.stdin?.on('error', () => undefined) // it has ended, which the caller learns below
  const ended = once(child, 'close')
  const first = await Promise.race([once(child.stdout!, 'data'), ended.then(() => null)])
  if (first === null) throw new Error(problem.trim() || 'the shell that holds a fault ended')
  return {
    async [Symbol.asyncDispose]() {
      child.stdin?.end()
      await ended
    },
  }
}

/** Stops processes (SIGSTOP) until it is disposed of. @param targets pids; negative: process groups */
export async function holdStopped(targets: readonly number[]): Promise<AsyncDisposable> {
  return await keep('kill -s STOP -- "$@" || exit 1; echo held; read -r end; kill -s CONT -- "$@" 2>/dev/null', targets.map(String))
}

/** Mounts a tmpfs of `bytes` over a folder until it is disposed of. @throws Error in the words of mount(8), e.g. without the right to */
export async function mountBounded(folder: string, bytes: number): Promise<AsyncDisposable> {
  return await keep('mount -t tmpfs -o "size=$2,mode=0700" swarm-chaos "$1" || exit 1; echo held; read -r end; umount -l "$1"', [folder, String(bytes)])
}
