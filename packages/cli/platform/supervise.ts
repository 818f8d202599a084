import { setTimeout as delay } from 'node:timers/promises'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import type { Child } from './child.ts'

/** Between the end of a process and its next start, ms; doubled with each. */
const FIRST_WAIT_MS = 200
const WAIT_CAP_MS = 10_000
/** A process that served for so long was well, ms: when it ends, the waits begin anew. */
const WELL_MS = 10_000
/** Starts in a row that do not become ready before we give up: half a minute, in which a port or a database may come back. */
const MAX_FAILED_STARTS = 8

/** A process of the platform that is started again whenever it ends unasked. */
export interface Supervised extends AsyncDisposable {
  readonly name: string
  /** 0 while it is being started again. */
  pid(): number
  restarts(): number
  /** How it last ended unasked; null when it never did. */
  lastEnd(): string | null
  /** Resolves when it cannot be started again, with the reason. */
  readonly gaveUp: Promise<UserError>
}

export interface SuperviseOptions {
  /** Starts the process again, given what is known of the one that ended. */
  readonly start: (ended: Child, signal: AbortSignal) => Promise<Child>
  /** Runs beside the process while it serves, until `signal` aborts; resolves with why it must be replaced. */
  readonly watch?: (signal: AbortSignal) => Promise<string | null>
  readonly onNotice: (line: string) => void
  /** Something that is shown of it has changed. */
  readonly onChange: () => void
  readonly firstWaitMs?: number
}

/** Keeps a process that is ready running, until it is disposed of: then it is stopped as `first` would be. */
export function supervise(first: Child, options: SuperviseOptions): Supervised {
  const { name } = first
  const firstWaitMs = options.firstWaitMs ?? FIRST_WAIT_MS
  const stopping = new AbortController()
  const { signal } = stopping
  let child = first
  let [pid, restarts, lastEnd] = [first.pid, 0, null as string | null]

  /** Waits for the end of what runs now. The watchdog ends it when it must be replaced. */
  async function ended(): Promise<string> {
    const over = new AbortController()
    const current = child
    let replaced: string | null = null
    const watching = options.watch?.(AbortSignal.any([signal, over.signal])).then((why) => {
      if (why === null || signal.aborted || current.over()) return
      replaced = why
      current.kill()
    })
    const how = await current.ended
    over.abort()
    await watching
    return replaced ?? how
  }

  /** Starts it again until it is ready. @returns why that is given up, or null */
  async function startAgain(waitMs: () => number): Promise<UserError | null> {
    for (let failed = 1; ; failed++) {
      await delay(waitMs(), undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return null
      try {
        child = await options.start(child, signal)
        return null
      } catch (error) {
        if (signal.aborted) return null
        const problem = error instanceof UserError ? error : new UserError('start_failed', error instanceof Error ? error.message : String(error), '"swarm logs" shows what its log says.', EXIT.platform)
        if (failed >= MAX_FAILED_STARTS) return new UserError(problem.code, `The ${name} ended (${lastEnd ?? ''}) and could not be started again in ${failed} tries. ${problem.message}`, `${problem.remedy} Then run the same command again: it goes on where it was.`, EXIT.platform)
        options.onNotice(`the ${name} could not be started again (try ${failed} of ${MAX_FAILED_STARTS}): ${problem.message}`)
      }
    }
  }

  async function keep(): Promise<UserError | null> {
    let wait = firstWaitMs
    const nextWait = (): number => {
      const now = wait
      wait = Math.min(WAIT_CAP_MS, wait * 2)
      return now
    }
    for (let readyMs = performance.now(); ; readyMs = performance.now()) {
      const how = await ended()
      if (signal.aborted) return null
      if (performance.now() - readyMs >= WELL_MS) wait = firstWaitMs
      const lostMs = performance.now()
      ;[pid, lastEnd] = [0, how]
      options.onNotice(`the ${name} ended unexpectedly (${how}); it is started again`)
      options.onChange()
      const given = await startAgain(nextWait)
      if (given !== null || signal.aborted) return given
      ;[pid, restarts] = [child.pid, restarts + 1]
      options.onNotice(`the ${name} runs again after ${Math.round(performance.now() - lostMs)} ms`)
      options.onChange()
    }
  }

  const keeping = keep()
  return {
    name, pid: () => pid, restarts: () => restarts, lastEnd: () => lastEnd,
    gaveUp: keeping.then((error) => error ?? new Promise<never>(() => undefined)),
    async [Symbol.asyncDispose]() {
      stopping.abort()
      await child[Symbol.asyncDispose]()
      await keeping
      // A start that was under way when it was told to stop may have become ready in the same moment.
      await child[Symbol.asyncDispose]()
    },
  }
}
