import { spawn } from 'node:child_process'

export interface RunResult { code: number | null; signal: string | null; stdout: string; stderr: string }

/**
 * Runs a tool of the host to its end. Output is kept whole: only for tools whose output is small.
 * @throws Error when it cannot be started
 */
export function run(argv: readonly [string, ...string[]], options: { cwd?: string; env?: NodeJS.ProcessEnv; onStderr?: (line: string) => void; signal?: AbortSignal } = {}): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0], argv.slice(1), { cwd: options.cwd, ...(options.env === undefined ? {} : { env: options.env }), stdio: ['ignore', 'pipe', 'pipe'], signal: options.signal, killSignal: 'SIGTERM' })
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []]
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => {
      stderr.push(chunk)
      options.onStderr?.(chunk.toString('utf8'))
    })
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal, stdout: Buffer.concat(stdout).toString('utf8'), stderr: Buffer.concat(stderr).toString('utf8') }))
  })
}
