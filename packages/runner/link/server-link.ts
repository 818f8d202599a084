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

export interface ServerLink {
  /**
   * Calls the server until it answers; every call of the runner protocol may be repeated. Faults of the network, 429 and 5xx
   * are tried again with growing waits until `signal` is aborted; any other answer, and 500 for a minute, is thrown as ApiError.
   */
  call<B extends z.ZodType, R extends z.ZodType>(endpoint: Endpoint<z.ZodUndefined, z.ZodUndefined, B, R>, input: { body: z.input<B> }, signal: AbortSignal): Promise<z.output<R>>
}

export function createServerLink(options: { baseUrl: string; token: string; onTrouble: (error: unknown, path: string) => void }): ServerLink {
  const client = createClient({ baseUrl: options.baseUrl, token: options.token })
  return {
    async call(endpoint, input, signal) {
      let faultySinceMs: number | null = null
      for (let wait = FIRST_WAIT_MS; ; wait = Math.min(WAIT_CAP_MS, wait * 2)) {
        signal.throwIfAborted()
        try {
          return await client.call(endpoint, input as never, { signal })
        } catch (error) {
          if (signal.aborted) throw signal.reason
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

function jitter(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32
}
