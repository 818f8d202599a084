import { spawn } from 'node:child_process'

export interface RunResult { code: number | null; signal: string | null; stdout: string; stderr: string }

/**
 * Runs a tool of the host to its end. Output is kept whole: only for tools whose output is small.
 * @throws Error when it cannot be started
 */
export function run(argv: readonly [string, ...string[]], options: { cwd?: string; env?: NodeJS.ProcessEnv; onStderr?: (line: string) => void; signal?: AbortSignal; killSignal?: NodeJS.Signals } = {}): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0], argv.slice(1), { cwd: options.cwd, ...(options.env === undefined ? {} : { env: options.env }), stdio: ['ignore', 'pipe', 'pipe'], signal: options.signal, killSignal: options.killSignal ?? 'SIGTERM' })
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []]
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => {
      stderr.push(chunk)
      options.onStderr?.(chunk.toString('utf8'))
    })
    let aborted: Error | null = null
    child.once('error', (error) => {
      // One that is ended by the signal is over when it has let go of what it had.
      if (options.signal?.aborted === true && child.pid !== undefined) aborted = error
      else reject(error)
    })
    child.once('close', (code, signal) => aborted !== null ? reject(aborted) : resolve({ code, signal, stdout: Buffer.concat(stdout).toString('utf8'), stderr: Buffer.concat(stderr).toString('utf8') }))
  })
}
