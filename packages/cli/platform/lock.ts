import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'

/** What flock(1) ends with when somebody else has the lock. */
const HELD = 66

/**
 * Takes the one lock of a home folder, or gives null when another process has it. The kernel's lock is used: it is gone with
 * its owner, however that one ended (the helper reads from a pipe of ours and ends with it), so no lock is ever stale.
 */
export async function tryLock(path: string): Promise<AsyncDisposable | null> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const holder = spawn('flock', ['--exclusive', '--nonblock', '--conflict-exit-code', String(HELD), path, 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] })
  // The helper may end before it has read what we write; its exit code says why.
  holder.stdin.on('error', () => undefined)
  const ended = new Promise<number | Error>((resolve) => {
    holder.once('error', resolve)
    holder.once('close', (code) => { resolve(code ?? 1) })
  })
  holder.stdin.write('locked\n')
  const first = await Promise.race([once(holder.stdout, 'data').then(() => 'held' as const), ended])
  if (first === HELD) return null
  if (first !== 'held') throw new UserError('lock_failed', `The lock ${path} could not be taken: ${first instanceof Error ? first.message : `flock ended with code ${first}`}.`, 'Install util-linux, which has flock, and look whether the folder may be written.', EXIT.platform)
  return {
    async [Symbol.asyncDispose]() {
      holder.stdin.end()
      await ended
    },
  }
}
