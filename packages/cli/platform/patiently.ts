import { setTimeout as delay } from 'node:timers/promises'
import { ApiError } from '@swarm/contract/errors.ts'

/** Without a Retry-After, ms. */
const WAIT_MS = 1_000

/** Makes a call of a long row of them; one that was refused for the number of calls is made again when the server says that it may. */
export async function patiently<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 429) throw error
      await delay(error.retryAfterMs ?? WAIT_MS, undefined, { signal })
    }
  }
}
