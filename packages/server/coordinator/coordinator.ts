import type { Logger } from '../logger.ts'
import type { Wake } from '../db/wake.ts'
import type { Duty } from './duty.ts'

/** A duty that nothing woke looks again after this many ms: a net for lost wake-ups, not the way things move. */
const NET_MS = 30_000
/** After a failure of a duty, ms; doubled up to the net. */
const FIRST_RETRY_MS = 250

/**
 * Runs each duty in a loop of its own: until it has nothing to do, then until a commit wakes it or its own time has come.
 * A duty that throws is logged and run again later; it never stops the others.
 */
export function startCoordinator(duties: readonly Duty[], deps: { wake: Wake; logger: Logger; clock: () => number; onDuty?: (name: string, outcome: 'worked' | 'failed') => void }): AsyncDisposable {
  const stopping = new AbortController()
  const loops = duties.map(async (duty) => {
    using latch = deps.wake.latch('work')
    const log = deps.logger.child({ duty: duty.name })
    let failures = 0
    while (!stopping.signal.aborted) {
      let timeoutMs = NET_MS
      try {
        while (await duty.run(stopping.signal)) {
          deps.onDuty?.(duty.name, 'worked')
          if (stopping.signal.aborted) return
        }
        failures = 0
        const nextAt = await duty.nextAt?.()
        if (nextAt != null) timeoutMs = Math.max(0, Math.min(NET_MS, nextAt - deps.clock()))
      } catch (error) {
        if (stopping.signal.aborted) return
        deps.onDuty?.(duty.name, 'failed')
        log.error({ err: error }, 'duty failed; it is tried again')
        timeoutMs = Math.min(NET_MS, FIRST_RETRY_MS * 2 ** failures++)
      }
      await latch.wait({ signal: stopping.signal, timeoutMs })
    }
  })
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort(new Error('the server stops'))
      await Promise.all(loops)
    },
  }
}
