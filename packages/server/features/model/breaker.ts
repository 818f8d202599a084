import { setTimeout as after } from 'node:timers/promises'

/** Failures in a row without a Retry-After until the provider is left alone, and for how long (ms). */
const FAILURES_TO_OPEN = 5
const OPEN_MS = 10_000

/** Time, handed in by tests. */
export interface BreakerClock {
  now(): number
  /** Rejects when `signal` aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

/**
 * One provider's circuit breaker, shared by all calls. While it is open, calls wait instead of failing, so that an overload
 * burns no attempts; then one call probes and the others go on when it was answered.
 */
export function createBreaker(clock: BreakerClock = { now: Date.now, sleep: (ms, signal) => after(ms, undefined, { signal }) }) {
  let closedUntil = 0 // ms since the epoch; no call is tried before
  let failures = 0
  let probing: PromiseWithResolvers<void> | null = null
  return {
    /** Resolves when a call may be tried. Rejects when `signal` aborts. */
    async pass(signal: AbortSignal): Promise<void> {
      for (;;) {
        signal.throwIfAborted()
        const waitMs = closedUntil - clock.now()
        if (waitMs > 0) await clock.sleep(waitMs, signal)
        else if (failures < FAILURES_TO_OPEN) return
        else if (probing === null) {
          probing = Promise.withResolvers()
          return
        } else {
          await unlessAborted(probing.promise, signal)
        }
      }
    },
    /** The provider answered, be it with a refusal of this request. */
    answered(): void {
      failures = 0
      probing?.resolve()
      probing = null
    },
    /** The provider is overloaded or out of reach. @param retryAfterMs what it asked for, if it did. */
    failed(retryAfterMs: number | null): void {
      failures++
      if (retryAfterMs !== null) closedUntil = Math.max(closedUntil, clock.now() + retryAfterMs)
      else if (failures >= FAILURES_TO_OPEN) closedUntil = Math.max(closedUntil, clock.now() + OPEN_MS)
      probing?.resolve()
      probing = null
    },
    /** The probing call ended without a verdict (its caller went away). */
    released(): void {
      probing?.resolve()
      probing = null
    },
  }
}

/** Waits for the probe, whose end always comes: it resolves with its verdict or when its caller gives up. */
async function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const gone = Promise.withResolvers<never>()
  const abort = (): void => gone.reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([promise, gone.promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
