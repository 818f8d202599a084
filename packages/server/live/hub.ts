import { LIVE_EVENT_TYPES } from '@swarm/contract/live-events.ts'
import { RIGHTS_CHANGED } from '../authorization/rights.ts'
import type { Context } from '../context.ts'
import type { EventPage } from '../events/events.ts'

/** One reader of the log for all live connections of this process: a commit costs one query, not one per client. */
export interface Hub extends AsyncDisposable {
  /** Position that every listener was brought to. */
  readonly cursor: string
  /** Calls `listener` with each page of live events from `hub.cursor` on. @returns a function that ends it */
  listen(listener: (page: EventPage) => void): () => void
  /** Finds out the organisations of a page's projects; pages that listeners get are known already. */
  learn(page: EventPage): Promise<void>
  /** The organisation of a project that was learnt of; undefined for none. */
  organizationOf(projectId: string): string | undefined
}

export const LIVE_FILTER = { types: [...LIVE_EVENT_TYPES, RIGHTS_CHANGED] }
const RESTART_MS = 1_000

export async function createHub({ db, events, logger, stopping }: Pick<Context, 'db' | 'events' | 'logger' | 'stopping'>): Promise<Hub> {
  const listeners = new Set<(page: EventPage) => void>()
  const closing = new AbortController()
  const signal = AbortSignal.any([closing.signal, stopping])
  /** A project never moves to another organisation. */
  const organizations = new Map<string, string>()
  let cursor = await events.current()

  async function learn(page: EventPage): Promise<void> {
    const unknown = [...new Set(page.events.flatMap(({ projectId }) => projectId === null || organizations.has(projectId) ? [] : [projectId]))]
    if (unknown.length === 0) return
    for (const row of await db.read.selectFrom('projects').select(['id', 'organization_id']).where('id', 'in', unknown).execute()) organizations.set(row.id, row.organization_id)
  }

  async function follow(): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const page of events.followPages(cursor, signal, LIVE_FILTER)) {
          await learn(page)
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
    learn,
    organizationOf: (projectId) => organizations.get(projectId),
    [Symbol.asyncDispose]: async () => {
      closing.abort()
      await following
    },
  }
}
