import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { BoundedOutput } from './bounded-output.ts'

export interface ProcessResult {
  /** null when a signal ended it. */
  exitCode: number | null
  signal: string | null
  timedOut: boolean
  /** stdout and stderr as they came, bounded: head and tail, with the elision between them stated. */
  output: string
  wallMs: number
}

/** How long pipes may stay open after the process has ended and its group was killed (a daemon that left the group). */
const PIPE_GRACE_MS = 1_000

/**
 * Runs a program in a process group of its own, without stdin. When it ends, for whatever reason, the whole group is killed:
 * nothing that it started in the background outlives the call.
 * @param options.timeoutMs the group is killed after this time, `timedOut` says so.
 * @param options.onOutput gets text as it arrives, unbounded.
 * @throws the abort reason when `signal` fires first (after the group was killed), or the error of a failed spawn.
 */
export async function runProcess(argv: readonly [string, ...string[]], options: {
  cwd: string
  env?: NodeJS.ProcessEnv
  timeoutMs?: number
  maxOutputBytes: number
  signal: AbortSignal
  onOutput?: (text: string) => void
}): Promise<ProcessResult> {
  options.signal.throwIfAborted()
  const startedMs = performance.now()
  const [program, ...args] = argv
  const child = spawn(program, args, { cwd: options.cwd, ...(options.env === undefined ? {} : { env: options.env }), detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = new BoundedOutput(options.maxOutputBytes)
  let timedOut = false
  const killGroup = (): void => {
    if (child.pid === undefined) return
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch (error) {
      // ESRCH: the group is already empty, which is what we want.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
  const collect = (stream: Readable): void => {
    const decoder = new TextDecoder()
    stream.on('data', (chunk: Buffer) => {
      output.add(chunk)
      if (options.onOutput !== undefined) options.onOutput(decoder.decode(chunk, { stream: true }))
    })
  }
  collect(child.stdout)
  collect(child.stderr)
  const timer = options.timeoutMs === undefined ? undefined : setTimeout(() => {
    timedOut = true
    killGroup()
  }, options.timeoutMs)
  options.signal.addEventListener('abort', killGroup, { once: true })
  try {
    const [exitCode, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', (code, exitSignal) => {
        killGroup()
        const grace = setTimeout(() => {
          child.stdout.destroy()
          child.stderr.destroy()
        }, PIPE_GRACE_MS)
        child.once('close', () => {
          clearTimeout(grace)
          resolve([code, exitSignal])
        })
      })
    })
    options.signal.throwIfAborted()
    return { exitCode, signal, timedOut, output: output.text(), wallMs: performance.now() - startedMs }
  } finally {
    clearTimeout(timer)
    options.signal.removeEventListener('abort', killGroup)
  }
}
