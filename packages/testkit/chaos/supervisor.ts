import { setTimeout as delay } from 'node:timers/promises'
import { startChild, type Child, type ChildOptions } from '@swarm/cli/platform/child.ts'
import { identityOf, type ProcessIdentity } from '@swarm/cli/platform/processes.ts'

/** First wait and cap before a process is started again, ms, as an init system would. */
const FIRST_WAIT_MS = 100
const WAIT_CAP_MS = 2_000

/** A process that is started again whenever it ends, until it is disposed of. */
export interface Supervised extends AsyncDisposable {
  readonly name: string
  /** Null while it is not up. */
  identity(): ProcessIdentity | null
  starts(): number
}

/** Starts it and returns when it is ready. @throws when the first start fails: then it is no fault that was injected */
export async function supervise(options: Omit<ChildOptions, 'signal'>, onNote: (line: string) => void): Promise<Supervised> {
  const stopping = new AbortController()
  let child: Child | null = await startChild({ ...options, signal: stopping.signal })
  let starts = 1
  const running = (async () => {
    for (let wait = FIRST_WAIT_MS; !stopping.signal.aborted;) {
      if (child !== null) {
        const how = await child.ended
        if (stopping.signal.aborted) return
        child = null
        onNote(`${options.name} ended (${how.slice(0, 300)}); it is started again`)
      }
      await delay(wait, undefined, { signal: stopping.signal }).catch(() => undefined)
      if (stopping.signal.aborted) return
      try {
        child = await startChild({ ...options, signal: stopping.signal })
        starts++
        wait = FIRST_WAIT_MS
      } catch (error) {
        if (stopping.signal.aborted) return
        onNote(`${options.name} does not start: ${error instanceof Error ? error.message.slice(0, 300) : String(error)}`)
        wait = Math.min(WAIT_CAP_MS, wait * 2)
      }
    }
  })()
  return {
    name: options.name,
    identity: () => (child === null || child.over() ? null : identityOf(child.pid)),
    starts: () => starts,
    async [Symbol.asyncDispose]() {
      stopping.abort(new Error('the chaos run is over'))
      await child?.[Symbol.asyncDispose]()
      await running
    },
  }
}
