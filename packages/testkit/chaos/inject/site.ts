import { setTimeout as delay } from 'node:timers/promises'
import type { Violation } from '@swarm/contract/integrity.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Installation } from '../installation.ts'
import type { People } from '../people.ts'
import type { Fault } from '../schedule.ts'

/** What an injection can reach. */
export interface Site {
  readonly installation: Installation
  readonly people: People
  readonly projectId: string
  readonly gamma: { readonly repositoryId: string; readonly path: string; readonly origin: string }
  /** Aborted when the run is given up: what is held must be let go at once. */
  readonly signal: AbortSignal
  /** A promise that was seen broken by the injection itself, e.g. two decisions that both won. */
  readonly violation: (violation: Violation) => void
}

/** When the effect of the fault was seen, ms since the epoch. */
export interface Observation { readonly at: number }

/** Carries out a fault, and undoes what lasts. @returns null when its effect was not seen. @throws when it could not be carried out */
export type Inject = (fault: Fault, site: Site) => Promise<Observation | null>

/** How long the effect of a fault may take to show. */
export const PATIENCE_MS = 10_000
const LOOK_MS = 10

/** Looks until there is something; the world outside has no event for it. @returns null when the time is over */
export async function seen<T>(find: () => T | null | Promise<T | null>, options: { signal: AbortSignal; withinMs?: number }): Promise<T | null> {
  for (const until = performance.now() + (options.withinMs ?? PATIENCE_MS); ;) {
    const found = await find()
    if (found !== null) return found
    if (options.signal.aborted || performance.now() > until) return null
    await delay(LOOK_MS, undefined, { signal: options.signal }).catch(() => undefined)
  }
}

export async function lasting(forMs: number, signal: AbortSignal): Promise<void> {
  await delay(forMs, undefined, { signal }).catch(() => undefined)
}

/** Calls until the server answers: that it is down just then is another fault's effect. */
export async function answered<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (const until = performance.now() + PATIENCE_MS; ;) {
    try {
      return await act()
    } catch (error) {
      if (!(error instanceof DomainError) || error.code !== 'server_unreachable' || performance.now() > until) throw error
    }
    await delay(100, undefined, { signal })
  }
}
