import { setTimeout as delay } from 'node:timers/promises'
import type { Client } from '@swarm/contract/client.ts'
import { listRunners } from '@swarm/contract/endpoints/runners.ts'

export interface WatchdogLimits {
  /** The silence after which a process counts as hanging, ms. */
  readonly silenceMs: number
  /** Between two looks, and what one may take, ms. */
  readonly everyMs: number
}

export const SERVER_LIMITS: WatchdogLimits = { silenceMs: 30_000, everyMs: 5_000 }
/** On top of the 30 s after which the server shows a runner as offline: well over the lease of its work, which is given to others by then. */
export const RUNNER_LIMITS: WatchdogLimits = { silenceMs: 60_000, everyMs: 5_000 }

/** One look: whether the process gave a sign of life. */
export type Look = (signal: AbortSignal) => Promise<boolean>

/** Any answer counts, an error too: it is about a process that hangs or is stopped, not about one that has trouble. */
export function serverAnswers(url: string): Look {
  return async (signal) => {
    try {
      const response = await fetch(`${url}/health`, { signal })
      await response.arrayBuffer()
      return true
    } catch {
      return false // refused, cut or late: what it means is counted by the caller
    }
  }
}

/** Whether the server hears of the runner. A server that does not say is no fault of the runner's. */
export function runnerIsHeardOf(client: Client, name: string): Look {
  return async (signal) => {
    try {
      const { items } = await client.call(listRunners, { query: { limit: 200 } }, { signal })
      return items.find((runner) => runner.name === name)?.online !== false
    } catch {
      return true // the server's own watchdog is for that
    }
  }
}

/**
 * Looks until `signal` aborts (null), or until there was no sign of life for the limit: then says so. A look counts for what it was
 * meant to take at most, so that a machine that slept or had no time for this process either is not held against the other.
 */
export async function untilSilent(look: Look, { silenceMs, everyMs }: WatchdogLimits, signal: AbortSignal): Promise<string | null> {
  for (let silentMs = 0; !signal.aborted;) {
    const lookedMs = performance.now()
    const alive = await look(AbortSignal.any([signal, AbortSignal.timeout(everyMs)]))
    if (signal.aborted) return null
    const tookMs = Math.min(everyMs, performance.now() - lookedMs)
    await delay(alive ? everyMs : everyMs - tookMs, undefined, { signal }).catch(() => undefined)
    silentMs = alive ? 0 : silentMs + everyMs
    if (silentMs >= silenceMs) return `it gave no sign of life for ${Math.round(silentMs / 1000)} s`
  }
  return null
}
