import { LIVE_EVENT_TYPES } from '@swarm/contract/live-events.ts'
import type { Context } from '../context.ts'
import type { EventPage } from '../events/events.ts'
import type { Tenants } from './tenants.ts'

/** One reader of the log for all live connections of this process: a commit costs one query, not one per client. */
export interface Hub extends AsyncDisposable {
  /** Position that every listener was brought to. */
  readonly cursor: string
  /** Calls `listener` with each page of live events from `hub.cursor` on. @returns a function that ends it */
  listen(listener: (page: EventPage) => void): () => void
}

export const LIVE_FILTER = { types: LIVE_EVENT_TYPES }
const RESTART_MS = 1_000

export async function createHub({ events, logger, stopping }: Pick<Context, 'events' | 'logger' | 'stopping'>, tenants: Tenants): Promise<Hub> {
  const listeners = new Set<(page: EventPage) => void>()
  const closing = new AbortController()
  const signal = AbortSignal.any([closing.signal, stopping])
  let cursor = await events.current()

  async function follow(): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const page of events.followPages(cursor, signal, LIVE_FILTER)) {
          await tenants.know(page)
          cursor = page.cursor
          for (const listener of listeners) listener(page)
        }
      } catch (error) {
        logger.error({ err: error }, 'live events could not be read; trying again')
        await new Promise((resolve) => { setTimeout(resolve, RESTART_MS).unref() })
      }
    }
  }
  const following = follow()
  return {
    get cursor() { return cursor },
    listen: (listener) => {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort()
      await following
    },
  }
}
