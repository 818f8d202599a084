import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Takes an exclusive lock on a file, waiting for whoever has it. The kernel's lock is used, by flock(1): it is gone with its
 * owner, however that one ended (the helper reads from a pipe of ours and ends with it), so no lock is ever stale.
 * @param onWait called once when somebody else holds it
 */
export async function lockFile(path: string, onWait?: () => void): Promise<AsyncDisposable> {
  mkdirSync(dirname(path), { recursive: true })
  const holder = spawn('flock', ['--exclusive', path, 'cat'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise<void>((resolve) => holder.once('close', () => resolve()))
  const notice = onWait === undefined ? undefined : setTimeout(onWait, 500)
  await new Promise<void>((resolve, reject) => {
    holder.once('error', reject)
    holder.once('close', () => reject(new Error(`the lock ${path} could not be taken`)))
    holder.stdout.once('data', () => resolve()) // cat runs, and answers, only once the lock is held
    holder.stdin.write('locked\n')
  }).finally(() => clearTimeout(notice))
  return {
    async [Symbol.asyncDispose]() {
      holder.stdin.end()
      await ended
    },
  }
}
