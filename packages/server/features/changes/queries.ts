import type { Selectable, Updateable } from 'kysely'
import type { Read } from '../../db/database.ts'
import { inProjects } from '../../db/projects.ts'
import type { AttemptsTable, ChangesTable, CheckRunsTable, TicketsTable } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'

export type Db = Read | Trx
export type ChangeRow = Selectable<ChangesTable>
export type CheckRow = Selectable<CheckRunsTable>
export type AttemptRow = Selectable<AttemptsTable>
export type TicketRow = Selectable<TicketsTable>

/** Entries that the queue still has to deal with. */
export const LIVE_ENTRY_STATES = ['queued', 'checking'] as const

export async function changeById(db: Db, id: string): Promise<ChangeRow | undefined> {
  return await db.selectFrom('changes').selectAll().where((where) => where.or([where('id', '=', id), where('ticket_id', '=', id)])).executeTakeFirst()
}
export async function changePage(db: Db, filter: { projects: 'all' | readonly string[]; ticketId?: string | undefined; state?: string | undefined }, before: { at: number; id: string } | null, limit: number): Promise<ChangeRow[]> {
  let query = db.selectFrom('changes').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit)
  query = inProjects(query, 'project_id', filter.projects)
  if (filter.ticketId !== undefined) query = query.where('ticket_id', '=', filter.ticketId)
  if (filter.state !== undefined) query = query.where('state', '=', filter.state)
  if (before) query = query.where((where) => where.or([where('created_at', '<', before.at), where.and([where('created_at', '=', before.at), where('id', '<', before.id)])]))
  return await query.execute()
}
export async function openChanges(db: Db): Promise<ChangeRow[]> {
  return await db.selectFrom('changes').selectAll().where('state', '=', 'open').execute()
}
/** Open changes whose ticket was cancelled; one that is in the merge queue leaves it first, so that what main has already is never closed. */
export async function abandonedChanges(db: Db): Promise<ChangeRow[]> {
  return await db.selectFrom('changes').innerJoin('tickets', 'tickets.id', 'changes.ticket_id').selectAll('changes')
    .where('changes.state', '=', 'open').where('tickets.state', '=', 'cancelled')
    .where(({ not, exists, selectFrom }) => not(exists(selectFrom('merge_entries').select('change_id').whereRef('merge_entries.change_id', '=', 'changes.id').where('merge_entries.state', 'in', LIVE_ENTRY_STATES)))).limit(100).execute()
}
/** The ticket's one change: made, or moved to a new head. Returns its id. */
export async function upsertChange(trx: Trx, row: ChangeRow): Promise<string> {
  const { id: _, ticket_id: __, created_at: ___, ...next } = row
  await trx.insertInto('changes').values(row).onConflict((conflict) => conflict.column('ticket_id').doUpdateSet(next)).execute()
  return (await trx.selectFrom('changes').select('id').where('ticket_id', '=', row.ticket_id).executeTakeFirstOrThrow()).id
}
export async function moveChange(trx: Trx, change: { id: string; headSha: string }, patch: Updateable<ChangesTable>): Promise<boolean> {
  const result = await trx.updateTable('changes').set(patch).where('id', '=', change.id).where('head_sha', '=', change.headSha).where('state', '=', 'open').executeTakeFirst()
  return result.numUpdatedRows === 1n
}

export async function ticketOf(db: Db, id: string): Promise<TicketRow> {
  return await db.selectFrom('tickets').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
}
export async function nextGating(db: Db, except: readonly string[]): Promise<AttemptRow | undefined> {
  return await db.selectFrom('attempts').selectAll().where('state', '=', 'gating').where('id', 'not in', [...except, '']).orderBy('created_at').orderBy('id').limit(1).executeTakeFirst()
}
/** An attempt whose check run has come to an end, with that run. */
export async function nextVerdict(db: Db, except: readonly string[]): Promise<{ attempt: AttemptRow; check: CheckRow } | undefined> {
  const check = await db.selectFrom('check_runs').innerJoin('attempts', 'attempts.id', 'check_runs.attempt_id').selectAll('check_runs')
    .where('attempts.state', '=', 'verifying').where('check_runs.purpose', '=', 'attempt').where('check_runs.state', 'in', ['passed', 'failed', 'error', 'cancelled'])
    .where('attempts.id', 'not in', [...except, ''])
    .orderBy('check_runs.ended_at').orderBy('check_runs.id').limit(1).executeTakeFirst()
  if (!check) return undefined
  const attempt = await db.selectFrom('attempts').selectAll().where('id', '=', check.attempt_id).executeTakeFirstOrThrow()
  return { attempt, check }
}
export async function attemptsOf(db: Db, ticketId: string): Promise<AttemptRow[]> {
  return await db.selectFrom('attempts').selectAll().where('ticket_id', '=', ticketId).orderBy('number').execute()
}
export async function checkById(db: Db, id: string): Promise<CheckRow | undefined> {
  return await db.selectFrom('check_runs').selectAll().where('id', '=', id).executeTakeFirst()
}
/** Whether this tree has ever passed this plan. */
export async function hasPassed(db: Db, repositoryId: string, treeSha: string, planDigest: string): Promise<boolean> {
  return (await db.selectFrom('check_runs').select('id').where('repository_id', '=', repositoryId).where('tree_sha', '=', treeSha).where('plan_digest', '=', planDigest).where('state', '=', 'passed').executeTakeFirst()) !== undefined
}
/** The newest run of the base on this tree since `since`. */
export async function baseRun(db: Db, repositoryId: string, treeSha: string, planDigest: string, since: number): Promise<CheckRow | undefined> {
  return await db.selectFrom('check_runs').selectAll().where('purpose', '=', 'base').where('repository_id', '=', repositoryId).where('tree_sha', '=', treeSha).where('plan_digest', '=', planDigest)
    .where('created_at', '>=', since).orderBy('created_at', 'desc').orderBy('id', 'desc').executeTakeFirst()
}
