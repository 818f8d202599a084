import type { Kysely, Selectable } from 'kysely'
import { inProjects } from '../../db/projects.ts'
import type { AttemptStepsTable, EventsTable, Schema } from '../../db/schema.ts'
import type { TicketRow } from './queries.ts'

type Db = Kysely<Schema>

/** In order of creation, after the ticket given. */
export async function ticketPage(db: Db, filter: { projects: 'all' | readonly string[]; sessionId?: string | undefined; state?: string | undefined }, after: string | undefined, limit: number): Promise<TicketRow[]> {
  let query = db.selectFrom('tickets').selectAll().orderBy('created_at').orderBy('id').limit(limit)
  query = inProjects(query, 'project_id', filter.projects)
  if (filter.sessionId !== undefined) query = query.where('session_id', '=', filter.sessionId)
  if (filter.state !== undefined) query = query.where('state', '=', filter.state)
  if (after !== undefined) {
    query = query.where((eb) => eb.or([
      eb('created_at', '>', eb.selectFrom('tickets as last').select('last.created_at').where('last.id', '=', after)),
      eb.and([eb('created_at', '=', eb.selectFrom('tickets as last').select('last.created_at').where('last.id', '=', after)), eb('id', '>', after)]),
    ]))
  }
  return query.execute()
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
