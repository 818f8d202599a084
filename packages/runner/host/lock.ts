import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Takes an exclusive lock on a file, waiting for whoever has it. The kernel's lock is used, by flock(1): it is gone with its
 * owner, however that one ended (the helper reads from a pipe of ours and ends with it), so no lock is ever stale.
 * @param onWait called once when somebody else holds it
 * @param signal ends the wait with its reason
 */
export async function lockFile(path: string, onWait?: () => void, signal?: AbortSignal): Promise<AsyncDisposable> {
  signal?.throwIfAborted()
  mkdirSync(dirname(path), { recursive: true })
  const holder = spawn('flock', ['--exclusive', path, 'cat'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise<void>((resolve) => holder.once('close', () => resolve()))
  const notice = onWait === undefined ? undefined : setTimeout(onWait, 500)
  const giveUp = Promise.withResolvers<never>()
  const onAbort = () => {
    holder.kill()
    holder.stdin.end() // and with it cat, if the lock was just taken
    giveUp.reject(signal?.reason)
  }
  signal?.addEventListener('abort', onAbort, { once: true })
  await Promise.race([giveUp.promise, new Promise<void>((resolve, reject) => {
    holder.once('error', reject)
    holder.once('close', () => reject(new Error(`the lock ${path} could not be taken`)))
    holder.stdout.once('data', () => resolve()) // cat runs, and answers, only once the lock is held
    holder.stdin.on('error', () => {}) // killed before it has read it: 'close' says so
    holder.stdin.write('locked\n')
  })]).finally(() => {
    clearTimeout(notice)
    signal?.removeEventListener('abort', onAbort)
  })
  return {
    async [Symbol.asyncDispose]() {
      holder.stdin.end()
      await ended
    },
  }
}
