import { setTimeout as delay } from 'node:timers/promises'

export interface WatchdogLimits {
  /** The silence after which a server counts as hanging, ms. */
  readonly silenceMs: number
  /** Between two looks, and what one may take, ms. */
  readonly everyMs: number
}

const LIMITS: WatchdogLimits = { silenceMs: 30_000, everyMs: 5_000 }

/**
 * Asks a server for its health until `signal` aborts (null), or until it has said nothing for the limit: then says so. Any answer
 * counts, an error too: it is for a process that hangs or is stopped, not for one that has trouble. A look counts for what it was
 * meant to take at most, so that a machine that slept or had no time for this process either is not held against the server.
 */
export async function untilSilent(url: string, signal: AbortSignal, limits: WatchdogLimits = LIMITS): Promise<string | null> {
  for (let silentMs = 0; !signal.aborted;) {
    const askedMs = performance.now()
    const answered = await answers(`${url}/health`, AbortSignal.any([signal, AbortSignal.timeout(limits.everyMs)]))
    if (signal.aborted) return null
    silentMs = answered ? 0 : silentMs + Math.min(limits.everyMs, performance.now() - askedMs)
    if (silentMs >= limits.silenceMs) return `it answered nothing for ${Math.round(silentMs / 1000)} s`
    const pauseMs = answered ? limits.everyMs : Math.max(0, limits.everyMs - (performance.now() - askedMs))
    if (!answered) silentMs += pauseMs
    await delay(pauseMs, undefined, { signal }).catch(() => undefined)
  }
  return null
}

async function answers(url: string, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await fetch(url, { signal })
    await response.arrayBuffer()
    return true
  } catch {
    return false // refused, cut or late: what it means is counted by the caller
  }
}
