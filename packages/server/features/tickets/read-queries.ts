import { CLAIMABLE } from '@swarm/core/tickets/machine.ts'
import { type Kysely, type Selectable, sql } from 'kysely'
import { inProjects } from '../../db/projects.ts'
import type { AttemptStepsTable, EventsTable, Schema } from '../../db/schema.ts'
import type { Position } from '../../http/pages.ts'
import type { TicketRow } from './queries.ts'

type Db = Kysely<Schema>

export interface TicketFilter {
  readonly projects: 'all' | readonly string[]
  readonly state?: readonly string[] | undefined; readonly agent?: readonly string[] | undefined; readonly sessionId?: string | undefined; readonly text?: string | undefined
  readonly waiting?: 'dependencies' | 'retry' | 'review' | 'person' | undefined
  readonly minPriority?: number | undefined; readonly maxPriority?: number | undefined
}
/** Orders of a list; the id decides among equals. */
const SORTS = {
  created: { column: 'created_at', direction: 'asc' },
  updated: { column: 'updated_at', direction: 'desc' },
  priority: { column: 'priority', direction: 'desc' },
} as const
export type TicketSort = keyof typeof SORTS

/** Place of a ticket in an order: pages.ts reads it. */
export const placeOf = (row: TicketRow, sort: TicketSort): string => `${row[SORTS[sort].column]}.${row.id}`

function matching(db: Db, filter: TicketFilter, now: number) {
  let query = inProjects(db.selectFrom('tickets'), 'project_id', filter.projects)
  if (filter.sessionId !== undefined) query = query.where('session_id', '=', filter.sessionId)
  if (filter.state !== undefined) query = query.where('state', 'in', [...filter.state])
  if (filter.agent !== undefined) query = query.where('agent_name', 'in', [...filter.agent])
  if (filter.minPriority !== undefined) query = query.where('priority', '>=', filter.minPriority)
  if (filter.maxPriority !== undefined) query = query.where('priority', '<=', filter.maxPriority)
  if (filter.text !== undefined) {
    const like = `%${filter.text.toLowerCase().replace(/[\\%_]/g, '\\$&')}%`
    const id = filter.text.toUpperCase()
    // No index serves it: it looks through the tickets that the other filters leave.
    query = query.where((eb) => eb.or([sql<boolean>`lower(title) like ${like} escape '\\'`, sql<boolean>`lower(key) like ${like} escape '\\'`, eb('id', '=', id)]))
  }
  switch (filter.waiting) {
    case 'dependencies': return query.where('state', 'in', [...CLAIMABLE]).where('open_dependencies', '>', 0)
    case 'retry': return query.where('state', 'in', [...CLAIMABLE]).where('retry_at', '>', now)
    case 'review': return query.where('state', '=', 'in_review')
    case 'person': return query.where('state', '=', 'on_hold')
    default: return query
  }
}

export async function ticketPage(db: Db, filter: TicketFilter, sort: TicketSort, after: Position | null, limit: number, now: number): Promise<TicketRow[]> {
  const { column, direction } = SORTS[sort]
  let query = matching(db, filter, now).selectAll().orderBy(column, direction).orderBy('id', direction).limit(limit)
  const behind = direction === 'asc' ? '>' as const : '<' as const
  if (after) query = query.where((eb) => eb.or([eb(column, behind, after.at), eb.and([eb(column, '=', after.at), eb('id', behind, after.id)])]))
  return query.execute()
}

/** Tickets by state, and how many of these wait for another one to be merged. */
export async function countsByState(db: Db, filter: TicketFilter, now: number): Promise<Map<string, { tickets: number; blocked: number }>> {
  const rows = await matching(db, filter, now).select('state').groupBy('state')
    .select((eb) => [eb.fn.countAll<number | string>().as('tickets'), sql<number | string>`sum(case when open_dependencies > 0 then 1 else 0 end)`.as('blocked')]).execute()
  return new Map(rows.map((row) => [row.state, { tickets: Number(row.tickets), blocked: Number(row.blocked) }]))
}

async function costBy(db: Db, column: 'ticket_id' | 'attempt_id', ids: readonly string[]): Promise<Map<string, number>> {
  if (ids.length === 0) return new Map()
  const rows = await db.selectFrom('model_calls').select((eb) => [column, eb.fn.sum<number | string | null>('cost_micro_usd').as('cost')]).where(column, 'in', [...ids]).groupBy(column).execute()
  return new Map(rows.flatMap((row) => row[column] === null || row[column] === undefined ? [] : [[row[column], Number(row.cost ?? 0)]]))
}
export async function costByTicket(db: Db, ids: readonly string[]): Promise<Map<string, number>> { return costBy(db, 'ticket_id', ids) }
export async function costByAttempt(db: Db, ids: readonly string[]): Promise<Map<string, number>> { return costBy(db, 'attempt_id', ids) }

export async function changeIds(db: Db, ticketIds: readonly string[]): Promise<Map<string, string>> {
  if (ticketIds.length === 0) return new Map()
  const rows = await db.selectFrom('changes').select(['id', 'ticket_id']).where('ticket_id', 'in', [...ticketIds]).execute()
  return new Map(rows.map((row) => [row.ticket_id, row.id]))
}

export async function stepsOf(db: Db, attemptIds: readonly string[]): Promise<Selectable<AttemptStepsTable>[]> {
  if (attemptIds.length === 0) return []
  return db.selectFrom('attempt_steps').selectAll().where('attempt_id', 'in', [...attemptIds]).orderBy('at').execute()
}

export async function vmIdsOf(db: Db, workIds: readonly string[]): Promise<{ id: string; work_id: string }[]> {
  if (workIds.length === 0) return []
  return db.selectFrom('vms').select(['id', 'work_id']).where('work_id', 'in', [...workIds]).orderBy('started_at').execute()
}

/** Agent activity of one ticket, oldest first, after the sequence number given. */
export async function activityPage(db: Db, ticketId: string, afterSeq: number, limit: number): Promise<Selectable<EventsTable>[]> {
  return db.selectFrom('events').selectAll().where('subject_kind', '=', 'ticket').where('subject_id', '=', ticketId).where('type', '=', 'ticket:activity')
    .where('seq', '>', afterSeq).orderBy('seq').limit(limit).execute()
}
