import { setTimeout as delay } from 'node:timers/promises'
import { AttemptEnded } from '../template.ts'

/** Calls in all, and the waits between them, ms, doubled up to the cap: 23 s, several times what a server takes to restart. */
const TRIES = 8
const FIRST_WAIT_MS = 500
const WAIT_CAP_MS = 5_000

/**
 * Repeats a model call that did not get through to the gateway: the runner's proxy says so (`egress_unreachable`) when it got no answer at
 * all, and nobody but us can make that call again. Nothing was added to the conversation and no tool has run, so that a
 * repetition changes nothing; whatever the gateway did answer is final.
 */
export async function whileUnreachable<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await call()
    } catch (error) {
      if (tried === TRIES || !(error instanceof AttemptEnded) || error.outcome.reason !== 'egress_unreachable') throw error
    }
    await delay(Math.min(WAIT_CAP_MS, FIRST_WAIT_MS * 2 ** (tried - 1)), undefined, { signal })
  }
}
