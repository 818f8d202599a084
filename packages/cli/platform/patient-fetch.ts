import { setTimeout as delay } from 'node:timers/promises'
import { ApiError } from '@swarm/contract/errors.ts'
import { DomainError } from '@swarm/core/errors.ts'

const FIRST_WAIT_MS = 100
const WAIT_CAP_MS = 1_000
/** A server that ended is started again within seconds, one that hangs within a minute; longer, and it is not coming back by itself. */
const GIVE_UP_MS = 60_000

/**
 * fetch for commands that outlive a restart of the server. A question is asked again whatever became of it; anything else only if
 * it never reached the server: whether the rest did its work shows when the caller looks again (`untilReached`).
 */
export const patientFetch: typeof fetch = async (input, init) => {
  let lostMs: number | null = null
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(WAIT_CAP_MS, wait * 2)) {
    try {
      return await fetch(input, init)
    } catch (error) {
      lostMs ??= performance.now()
      if (init?.signal?.aborted || performance.now() - lostMs > GIVE_UP_MS) throw error
      if ((init?.method ?? 'GET') !== 'GET' && !wasRefused(error)) throw error
    }
    await delay(wait, undefined, init?.signal ? { signal: init.signal } : {})
  }
}

/** Whether the connection was refused, so that nothing was sent. */
function wasRefused(error: unknown): boolean {
  return error instanceof Error && error.cause instanceof Error && 'code' in error.cause && error.cause.code === 'ECONNREFUSED'
}

/** Whether a call failed because the server went away in the middle, so that what became of it is not known. */
export function isAway(error: unknown): boolean {
  return (error instanceof DomainError && error.code === 'server_unreachable') || (error instanceof ApiError && error.status === 503)
}

/** Does something again that the server's end cut off; it must look first what is there already. */
export async function untilReached<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const untilMs = performance.now() + GIVE_UP_MS
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(WAIT_CAP_MS, wait * 2)) {
    try {
      return await act()
    } catch (error) {
      if (!isAway(error) || performance.now() > untilMs) throw error
    }
    await delay(wait, undefined, { signal }).catch(() => { throw signal.reason })
  }
}
