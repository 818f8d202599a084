import { setTimeout as delay } from 'node:timers/promises'
import { ApiError } from '@swarm/contract/errors.ts'
import { upcoming } from '@swarm/contract/runner-protocol.ts'
import type { Upcoming } from '@swarm/contract/runner-protocol.ts'
import type { ServerLink } from '../link/server-link.ts'
import type { Machines } from './machine.ts'

/** How often the server is asked what comes, ms. */
const ASK_MS = 10_000
/** What could not be made is tried again after this time, or by the work that needs it. */
const AGAIN_MS = 600_000

/**
 * Makes images and templates that coming work starts from, one after the other, beside the work that runs: after a merge has changed
 * swarm.yml the first attempt on the new main need not wait for its image. Until `signal` is aborted.
 */
export async function makeAhead(link: Pick<ServerLink, 'call'>, machines: Pick<Machines, 'prepare'>, signal: AbortSignal, options: { askMs?: number; onTrouble: (error: unknown, what: string) => void }): Promise<void> {
  const known = new Map<string, { againMs: number }>()
  while (!signal.aborted) {
    for (const [digest, { againMs }] of known) if (againMs < performance.now()) known.delete(digest)
    for (const item of await ask()) {
      if (signal.aborted) return
      known.set(item.digest, { againMs: await made(item) ? Infinity : performance.now() + AGAIN_MS })
    }
    await delay(options.askMs ?? ASK_MS, undefined, { signal })
  }

  /** Nothing where the server cannot say: it is a help, and work is done without it. */
  async function ask(): Promise<Upcoming[]> {
    try {
      return (await link.call(upcoming, { body: { known: [...known.keys()].slice(-1_000) } }, signal)).items
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      options.onTrouble(error, 'the server does not say what comes')
      return []
    }
  }

  async function made({ image, memoryMb, diskMb }: Upcoming): Promise<boolean> {
    try {
      await machines.prepare({ image, limits: { memoryMb, diskMb } }, signal)
      return true
    } catch (error) {
      if (signal.aborted) throw error
      options.onTrouble(error, 'what coming work starts from could not be made ahead of it')
      return false
    }
  }
}
