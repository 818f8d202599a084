import { setTimeout as delay } from 'node:timers/promises'
import type { Database } from '../db/database.ts'
import { readEvents, type EventFilter, type EventPage } from './events.ts'

/**
 * Reads once everything that is committed can be read. On PostgreSQL the horizon belongs to the whole cluster: a transaction of another
 * test, in another database, may hold an event back for a moment.
 */
export async function readSettled(db: Database, cursor: string | null = null, limit = 1_000, filter: EventFilter = {}): Promise<EventPage> {
  for (;;) {
    const page = await readEvents(db.read, cursor, limit, filter)
    if (!page.behind) return page
    await delay(2)
  }
}
