import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const KEPT_LINES = 40

/**
 * Runs a program without showing its output; the last lines are kept for the error.
 * @param {readonly string[]} argv program and arguments (no shell)
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, onLine?: (line: string) => void, onStatusLine?: (line: string) => void }} [options]
 *   `onStatusLine` gets what the program writes on descriptor 3.
 * @returns {Promise<{ code: number, tail: string }>} `code` is 127 when the program cannot be started
 */
export function runQuietly(argv, { cwd, env, onLine, onStatusLine } = {}) {
  return new Promise((resolve) => {
    const kept = []
    const child = spawn(argv[0], argv.slice(1), { cwd, env, stdio: ['ignore', 'pipe', 'pipe', onStatusLine ? 'pipe' : 'ignore'] })
    const keep = (line) => {
      kept.push(line)
      if (kept.length > KEPT_LINES) kept.shift()
      onLine?.(line)
    }
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', keep)
    if (onStatusLine) createInterface({ input: child.stdio[3] }).on('line', onStatusLine)
    child.on('error', (error) => resolve({ code: 127, tail: error.message }))
    child.on('close', (code, signal) => resolve({ code: code ?? 1, tail: [...kept, ...(signal ? [`ended by ${signal}`] : [])].join('\n') }))
  })
}
