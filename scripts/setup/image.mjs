import { spawn } from 'node:child_process'
import { delimiter, join } from 'node:path'
import { SetupError } from './setup-error.mjs'

/**
 * Has the guest image and its template built, or found in the cache, by the command that owns them; it shows its own progress.
 * @param {string} root the checkout
 */
export async function setUpImage(root) {
  const env = { ...process.env, PATH: `${join(root, 'node_modules', '.bin')}${delimiter}${process.env.PATH ?? ''}` }
  const code = await new Promise((resolve, reject) => {
    // Its stdout is a result, which belongs to nobody here: stdout is kept for the command that follows the set-up.
    const child = spawn('node', [join(root, 'bin', 'swarm.mjs'), 'image', 'build'], { cwd: root, env, stdio: ['ignore', process.stderr, process.stderr] })
    child.on('error', reject)
    child.on('exit', (exitCode) => resolve(exitCode ?? 1))
  })
  if (code !== 0) throw new SetupError('The guest image is not ready; the lines above say why. Nothing is half-done: run the same command again afterwards.')
}
