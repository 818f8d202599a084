import { DomainError } from '@swarm/core/errors.ts'
import { sql } from 'kysely'
import { currentCorrelationId } from '../correlation.ts'
import type { Database, Read } from '../db/database.ts'
import { dialectOf } from '../db/dialect.ts'
import { json } from '../db/json.ts'
import { signal as wakeAfterCommit, type Trx } from '../db/unit.ts'

/*
 * The event log: what happened, in the transaction in which it happened; the database refuses to change or delete rows.
 *
 * A cursor is an opaque string `<epoch>.<xid>.<seq>`. SQLite has one writer, so seq is commit order and xid stays 0. On
 * PostgreSQL commit order is not sequence order (a reader by seq missed 1,461 of 4,800 events under 24 writers): events
 * carry their transaction id, and readers take (xid, seq) in order below the oldest transaction that still runs.
 */

export interface Subject { readonly kind: string, readonly id: string }

export interface NewEvent {
  /** `<subject>:<what>`, e.g. `ticket:update`; those of contract/live-events.ts also go to live clients. */
  readonly type: string
  readonly projectId: string | null
  readonly subject: Subject
  /** Anything JSON; never a secret. `sessionId` and `ticketId` in it place the event in those rooms too. */
  readonly data: Readonly<Record<string, unknown>>
  /** Of the request or attempt behind it; the current one unless given. */
  readonly correlationId?: string
  /** ms since the epoch; now unless given. */
  readonly at?: number
}

export interface StoredEvent {
  /** Position just after this event: reading from it continues with the next. */
  readonly cursor: string
  readonly type: string
  readonly projectId: string | null
  readonly subject: Subject
  readonly data: Record<string, unknown>
  readonly correlationId: string
  readonly at: number
}

export interface EventFilter {
  readonly types?: readonly string[]
  readonly projectId?: string
  readonly subject?: Subject
}

export interface EventPage {
  readonly events: StoredEvent[]
  /** Continue from here. Beyond the last event when the filter left some out. */
  readonly cursor: string
  /** Events are committed, or about to be, that cannot be read in order yet: read again soon. */
  readonly behind: boolean
}

/** Writes events in the caller's unit and wakes the readers after its commit. */
export async function appendEvents(trx: Trx, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return
  const now = Date.now()
  const correlationId = currentCorrelationId()
  await trx.insertInto('events').values(events.map((event) => ({
    type: event.type, project_id: event.projectId, subject_kind: event.subject.kind, subject_id: event.subject.id,
    data: json(event.data), correlation_id: event.correlationId ?? correlationId, at: event.at ?? now,
  }))).execute()
  wakeAfterCommit(trx, 'events')
}

/** A place in the log; comparable within one epoch. */
export interface Position { readonly epoch: string, readonly xid: bigint, readonly seq: bigint }

/** @throws DomainError `invalid_input` when it is no cursor of ours */
export function parseCursor(cursor: string): Position {
  const match = /^([0-9a-f-]{36})\.(\d{1,20})\.(\d{1,19})$/.exec(cursor)
  if (!match) throw new DomainError('invalid_input', { problem: 'the cursor is not one that Swarm gave', field: 'cursor' })
  return { epoch: match[1] ?? '', xid: BigInt(match[2] ?? 0), seq: BigInt(match[3] ?? 0) }
}

/** Negative when `a` comes before `b` (both of one epoch). */
export function compareCursors(a: string, b: string): number {
  const [left, right] = [parseCursor(a), parseCursor(b)]
  const difference = left.xid === right.xid ? left.seq - right.seq : left.xid - right.xid
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}

interface Horizon { epoch: string, xid: string, seq: string, behind: boolean }

/** Where the readable log ends now: everything before it is committed and will not get company. */
async function horizonOf(read: Read): Promise<Horizon> {
  const query = dialectOf(read) === 'postgres'
    ? sql<Horizon>`select (select value from meta where key = 'epoch') as epoch, h.xid::text as xid, '0' as seq,
        exists (select 1 from events where xid >= h.xid) as behind
        from (select pg_snapshot_xmin(pg_current_snapshot()) as xid) h`
    : sql<Horizon>`select (select value from meta where key = 'epoch') as epoch, '0' as xid,
        cast(coalesce((select max(seq) from events), 0) as text) as seq, 0 as behind`
  const row = (await query.execute(read)).rows[0]
  if (row === undefined) throw new Error('the event log has no horizon')
  return { ...row, behind: Boolean(row.behind) }
}

const toCursor = (epoch: string, xid: string | bigint, seq: string | bigint | number): string => `${epoch}.${xid}.${seq}`

/** The cursor of "from now on". */
export async function currentCursor(read: Read): Promise<string> {
  const horizon = await horizonOf(read)
  return toCursor(horizon.epoch, horizon.xid, horizon.seq)
}

interface Row {
  xid: string, seq: number, type: string, project_id: string | null, subject_kind: string, subject_id: string
  data: string, correlation_id: string, at: number
}

/**
 * The next events after `cursor` (null = from the beginning), in the order that every reader sees.
 * @throws DomainError `invalid_input` for no cursor, `cursor_expired` for one of another epoch
 */
export async function readEvents(read: Read, cursor: string | null, limit: number, filter: EventFilter = {}): Promise<EventPage> {
  const horizon = await horizonOf(read)
  const after = cursor === null ? { epoch: horizon.epoch, xid: 0n, seq: 0n } : parseCursor(cursor)
  if (after.epoch !== horizon.epoch) throw new DomainError('cursor_expired', {})
  const postgres = dialectOf(read) === 'postgres'
  const xid = postgres ? sql<string>`xid::text` : sql<string>`'0'`
  let query = read.selectFrom('events')
    .select([xid.as('xid'), 'seq', 'type', 'project_id', 'subject_kind', 'subject_id', 'data', 'correlation_id', 'at'])
    .limit(limit)
  query = postgres
    ? query.where(sql<boolean>`(xid, seq) > (${after.xid.toString()}::xid8, ${after.seq.toString()}::bigint) and xid < ${horizon.xid}::xid8`)
      .orderBy(sql`events.xid`).orderBy('seq')
    : query.where('seq', '>', Number(after.seq)).where('seq', '<=', Number(horizon.seq)).orderBy('seq')
  if (filter.types) query = query.where('type', 'in', filter.types)
  if (filter.projectId !== undefined) query = query.where('project_id', '=', filter.projectId)
  if (filter.subject) query = query.where('subject_kind', '=', filter.subject.kind).where('subject_id', '=', filter.subject.id)
  const rows: Row[] = await query.execute()
  const events = rows.map((row) => present(horizon.epoch, row))
  const last = events.at(-1)
  const end = toCursor(horizon.epoch, horizon.xid, horizon.seq)
  if (events.length === limit && last) return { events, cursor: last.cursor, behind: false }
  // A horizon never moves back for one reader, but a replica's may lag behind the cursor that another one gave.
  const next = cursor !== null && compareCursors(cursor, end) > 0 ? cursor : end
  return { events, cursor: next, behind: horizon.behind }
}

function present(epoch: string, row: Row): StoredEvent {
  return {
    cursor: toCursor(epoch, row.xid, row.seq), type: row.type, projectId: row.project_id,
    subject: { kind: row.subject_kind, id: row.subject_id }, data: JSON.parse(row.data) as Record<string, unknown>,
    correlationId: row.correlation_id, at: row.at,
  }
}

const PAGE = 500
/** Net under the wake-ups, for a signal that was lost with its connection. */
const SLOW_POLL_MS = 30_000
const FIRST_RETRY_MS = 2
const LAST_RETRY_MS = 250

/** Every page of events after `cursor`, then each new one as it is committed, until `signal` aborts. Empty pages are not given. */
export async function* followPages(
  db: Pick<Database, 'read' | 'wake'>, cursor: string | null, signal: AbortSignal, filter: EventFilter = {},
): AsyncGenerator<EventPage, void, undefined> {
  using latch = db.wake.latch('events')
  let position = cursor
  let retryMs = FIRST_RETRY_MS
  while (!signal.aborted) {
    const page = await readEvents(db.read, position, PAGE, filter)
    position = page.cursor
    if (page.events.length > 0) {
      retryMs = FIRST_RETRY_MS
      yield page
    }
    if (page.events.length === PAGE) continue
    // An older transaction holds the horizon; when it is not one of ours no signal will tell of its end.
    const woken = await latch.wait({ signal, timeoutMs: page.behind ? retryMs : SLOW_POLL_MS })
    retryMs = woken === 'timeout' ? Math.min(retryMs * 2, LAST_RETRY_MS) : FIRST_RETRY_MS
  }
}

/** As followPages, one event at a time: each exactly once, in order. */
export async function* followEvents(
  db: Pick<Database, 'read' | 'wake'>, cursor: string | null, signal: AbortSignal, filter: EventFilter = {},
): AsyncGenerator<StoredEvent, void, undefined> {
  for await (const page of followPages(db, cursor, signal, filter)) yield* page.events
}
