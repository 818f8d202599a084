import { setTimeout as delay } from 'node:timers/promises'
import { createClient } from '@swarm/contract/client.ts'
import type { Endpoint } from '@swarm/contract/endpoint.ts'
import { ApiError } from '@swarm/contract/errors.ts'
import type { z } from 'zod'

/** First wait and cap between tries of one call, ms: a server restart takes seconds, and nobody else waits for these. */
const FIRST_WAIT_MS = 100
const WAIT_CAP_MS = 2_000
/** A server that answers with a fault of its own for so long will go on doing so: the caller must hear of it. */
const FAULTS_MS = 60_000
/** An answer that has not come by then will not: the connection is half open, or the server hangs. The call is made again. */
const ANSWER_MS = 15_000
/** Added for a body that is megabytes, ms: a slow line carries 1 MiB/s. */
const MS_PER_BYTE = 1_000 / 1024 ** 2

export interface ServerLink {
  /** How long no try of any call has been answered, ms; 0 while the server answers. */
  unansweredMs(): number
  /**
   * Calls the server until it answers; every call of the runner protocol may be repeated. Faults of the network, 429 and 5xx
   * are tried again with growing waits until `signal` is aborted; any other answer, and 500 for a minute, is thrown as ApiError.
   * A try without an answer is given up after 15 s (of a long poll: `waitMs` of its body more).
   * @param permit asked before every try; what it throws ends the call
   */
  call<B extends z.ZodType, R extends z.ZodType>(endpoint: Endpoint<z.ZodUndefined, z.ZodUndefined, B, R>, input: { body: z.input<B> }, signal: AbortSignal, permit?: () => void): Promise<z.output<R>>
}

/** @param options.parted aborted when nothing more is to be said to the server: calls under way end */
export function createServerLink(options: { baseUrl: string; token: string; parted: AbortSignal; onTrouble: (error: unknown, path: string) => void }): ServerLink {
  const client = createClient({ baseUrl: options.baseUrl, token: options.token })
  let unansweredSinceMs: number | null = null
  return {
    unansweredMs: () => unansweredSinceMs === null ? 0 : performance.now() - unansweredSinceMs,
    async call(endpoint, input, wanted, permit) {
      const signal = AbortSignal.any([wanted, options.parted])
      const answerMs = Math.round(ANSWER_MS + heldMs(input.body) + JSON.stringify(input.body).length * MS_PER_BYTE)
      let faultySinceMs: number | null = null
      for (let wait = FIRST_WAIT_MS; ; wait = Math.min(WAIT_CAP_MS, wait * 2)) {
        signal.throwIfAborted()
        permit?.()
        try {
          const answer = await client.call(endpoint, input as never, { signal: AbortSignal.any([signal, AbortSignal.timeout(answerMs)]) })
          unansweredSinceMs = null
          return answer
        } catch (error) {
          if (signal.aborted) throw signal.reason
          unansweredSinceMs = error instanceof ApiError ? null : unansweredSinceMs ?? performance.now()
          if (error instanceof ApiError && error.status < 500 && error.status !== 429) throw error
          faultySinceMs = error instanceof ApiError && error.status === 500 ? faultySinceMs ?? performance.now() : null
          if (faultySinceMs !== null && performance.now() - faultySinceMs > FAULTS_MS) throw error
          options.onTrouble(error, endpoint.path)
        }
        await delay(wait / 2 + (wait / 2) * jitter(), undefined, { signal })
      }
    },
  }
}

/** How long the server may hold this call on purpose. */
function heldMs(body: unknown): number {
  return typeof body === 'object' && body !== null && 'waitMs' in body ? Number(body.waitMs) : 0
}

function jitter(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32
}
