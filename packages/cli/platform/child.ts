import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { parseJson } from '@swarm/core/json.ts'
import { CHECKOUT, childEnvironment } from '../config.ts'
import { failureOf, UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'

const TETHER = new URL('./tether.ts', import.meta.url).href
/** Kept of what a process says on stderr, to explain its end. */
const STDERR_CHARS = 20_000
const END_CHARS = 500

/** A process of the platform: dies with us, is ready when it says so, and ends orderly when it is told to. */
export interface Child extends AsyncDisposable {
  readonly name: string
  readonly pid: number
  /** The line with which it said that it is ready. */
  readonly ready: Record<string, unknown>
  /** Resolves when it is over, with how. */
  readonly ended: Promise<string>
  /** Whether it has ended. */
  over(): boolean
  /** What it said about its failure as it ended, if it did. */
  failure(): { readonly code: string } | undefined
  /** Ends it at once. */
  kill(): void
}

export interface ChildOptions {
  readonly name: string
  /** Path in the checkout. */
  readonly program: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string | undefined>>
  /** From SIGTERM to SIGKILL, ms. */
  readonly stopMs: number
  readonly signal?: AbortSignal
}

/**
 * Starts a program of the checkout under Node and waits for its ready line.
 * @throws UserError with the program's own code, words and remedy when it ends before that
 */
export async function startChild(options: ChildOptions): Promise<Child> {
  const { name, signal } = options
  signal?.throwIfAborted()
  const child = spawn(process.execPath, ['--import', TETHER, join(CHECKOUT, options.program), ...options.args ?? []], {
    cwd: CHECKOUT, env: childEnvironment(options.env ?? {}), stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    // A Ctrl-C in the terminal goes to the foreground group: ours alone, so that we can stop the others in order.
    detached: true,
  })
  if (!child.stdout || !child.stderr) throw new Error('the pipes that were asked for are missing')
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr = (stderr + text).slice(-STDERR_CHARS) })
  // Our end of the tether; the process that reads it may already have gone.
  child.stdio[3]?.on('error', () => undefined)
  let over = false
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => { resolve(error.message) })
    child.once('close', (code, killedBy) => { resolve(killedBy === null ? endOf(code, stderr) : `it ended with ${killedBy}`) })
  }).finally(() => { over = true })
  const stop = (): Promise<void> => stopChild(child, ended, options.stopMs)
  const lines = createInterface({ input: child.stdout })
  const ready = new Promise<Record<string, unknown>>((resolve) => {
    lines.on('line', (line) => {
      const said = parseJson(line)
      if (typeof said === 'object' && said !== null && 'ready' in said) resolve(said as Record<string, unknown>)
    })
  })
  const aborted = signal && once(signal, 'abort').then((): never => { throw signal.reason })
  aborted?.catch(() => undefined)
  const failed = ended.then((how): never => { throw startFailure(name, stderr, how) })
  failed.catch(() => undefined)
  try {
    const said = await Promise.race([ready, failed, ...(aborted ? [aborted] : [])])
    return { name, pid: child.pid ?? 0, ready: said, ended, over: () => over, failure: () => failureOf(stderr), kill: () => { child.kill('SIGKILL') }, [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** How a process ended by itself: what it said of its failure, else its last words. */
function endOf(code: number | null, stderr: string): string {
  const words = failureOf(stderr)?.message ?? stderr.trim().split('\n').slice(-3).join(' ')
  return `it ended with code ${code}${words === '' ? '' : `: ${words.slice(0, END_CHARS)}`}`
}

async function stopChild(child: ChildProcess, ended: Promise<string>, stopMs: number): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const timeout = new AbortController()
  child.kill('SIGTERM')
  await Promise.race([ended, delay(stopMs, undefined, { signal: timeout.signal }).then(() => { child.kill('SIGKILL') }, () => undefined)])
  timeout.abort()
  await ended
}

function startFailure(name: string, stderr: string, how: string): UserError {
  const failure = failureOf(stderr)
  if (failure) return new UserError(failure.code, failure.message, failure.remedy, EXIT.platform)
  // The rehearsal says in plain words what is wrong with its script.
  if (name === 'rehearsal' && /cannot be played/.test(stderr)) {
    const lines = stderr.trim().split('\n').map((line) => line.trim())
    return new UserError('rehearsal_script_invalid', `${lines[0]} ${lines.slice(1, -1).join('; ')}.`, `Mend it and run the same command again. ${lines.at(-1)}`)
  }
  return new UserError('start_failed', `The ${name} could not be started: ${how}.`, '"swarm doctor" says what this machine lacks; "swarm logs" shows the log.', EXIT.platform)
}
