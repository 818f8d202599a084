import type { Database } from '../db/database.ts'
import type { Trx } from '../db/unit.ts'
import { appendEvents, currentCursor, followEvents, followPages, readEvents, type EventFilter, type EventPage, type NewEvent, type StoredEvent } from './events.ts'

/** The event log of one database; the same functions as in events.ts, with the database bound. */
export interface EventLog {
  append(trx: Trx, events: readonly NewEvent[]): Promise<void>
  read(cursor: string | null, limit: number, filter?: EventFilter): Promise<EventPage>
  /** The cursor of "from now on". */
  current(): Promise<string>
  /** Each event after `cursor` exactly once, in order, until `signal` aborts; woken by commits. */
  follow(cursor: string | null, signal: AbortSignal, filter?: EventFilter): AsyncGenerator<StoredEvent, void, undefined>
  followPages(cursor: string | null, signal: AbortSignal, filter?: EventFilter): AsyncGenerator<EventPage, void, undefined>
}

export function createEventLog(db: Database): EventLog {
  return {
    append: appendEvents,
    read: (cursor, limit, filter) => readEvents(db.read, cursor, limit, filter),
    current: () => currentCursor(db.read),
    follow: (cursor, signal, filter) => followEvents(db, cursor, signal, filter),
    followPages: (cursor, signal, filter) => followPages(db, cursor, signal, filter),
  }
}
