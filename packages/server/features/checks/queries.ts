import type { Selectable, Updateable } from 'kysely'
import type { Read } from '../../db/database.ts'
import { forUpdateSkipLocked } from '../../db/dialect.ts'
import { inProjects } from '../../db/projects.ts'
import type { CheckRunsTable } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'

export type CheckRow = Selectable<CheckRunsTable>
type Db = Read | Trx

export async function checkById(db: Db, id: string): Promise<CheckRow | undefined> {
  return await db.selectFrom('check_runs').selectAll().where('id', '=', id).executeTakeFirst()
}
/** A pass of exactly this tree under exactly this plan, whatever it was run for. */
export async function passedOn(db: Db, repositoryId: string, treeSha: string, planDigest: string): Promise<CheckRow | undefined> {
  return await db.selectFrom('check_runs').selectAll().where('repository_id', '=', repositoryId).where('tree_sha', '=', treeSha).where('plan_digest', '=', planDigest).where('state', '=', 'passed').orderBy('created_at').executeTakeFirst()
}
export async function insertCheck(trx: Trx, row: CheckRow): Promise<void> {
  await trx.insertInto('check_runs').values(row).execute()
}
export async function heldBy(trx: Trx, runnerId: string, claimKey: string): Promise<CheckRow | undefined> {
  return await trx.selectFrom('check_runs').selectAll().where('runner_id', '=', runnerId).where('claim_key', '=', claimKey).where('state', '=', 'running').executeTakeFirst()
}
/** The oldest queued run that may start; merges and bases first, since a queue waits behind them. While queued, lease_expires_at is the time before which it is not tried again. */
export async function nextQueued(trx: Trx, now: number): Promise<CheckRow | undefined> {
  const due = trx.selectFrom('check_runs').selectAll().where('state', '=', 'queued')
    .where((where) => where.or([where('lease_expires_at', 'is', null), where('lease_expires_at', '<=', now)]))
    .orderBy((order) => order.case().when('purpose', '=', 'attempt').then(1).else(0).end()).orderBy('created_at').orderBy('id').limit(1)
  return await forUpdateSkipLocked(trx, due).executeTakeFirst()
}
/** Compare-and-set on state and fence: false when somebody was first. */
export async function moveCheck(trx: Trx, row: { id: string; state: string; fence: number }, patch: Updateable<CheckRunsTable>): Promise<boolean> {
  const result = await trx.updateTable('check_runs').set(patch).where('id', '=', row.id).where('state', '=', row.state).where('fence', '=', row.fence).executeTakeFirst()
  return result.numUpdatedRows === 1n
}
export async function runningOf(trx: Trx, runnerId: string): Promise<CheckRow[]> {
  return await trx.selectFrom('check_runs').selectAll().where('runner_id', '=', runnerId).where('state', '=', 'running').execute()
}
export async function expiredChecks(trx: Trx, now: number, limit: number): Promise<CheckRow[]> {
  return await trx.selectFrom('check_runs').selectAll().where('state', '=', 'running').where('lease_expires_at', '<', now).limit(limit).execute()
}
/** Queued runs whose delay is over may start. Returns how many. */
export async function releaseDueChecks(trx: Trx, now: number): Promise<number> {
  const result = await trx.updateTable('check_runs').set({ lease_expires_at: null }).where('state', '=', 'queued').where('lease_expires_at', '<=', now).executeTakeFirst()
  return Number(result.numUpdatedRows)
}
/** When the next lease ends or the next try is due, or null. */
export async function nextCheckTime(db: Db): Promise<number | null> {
  const row = await db.selectFrom('check_runs').select((select) => select.fn.min('lease_expires_at').as('at')).where('state', 'in', ['queued', 'running']).where('lease_expires_at', 'is not', null).executeTakeFirst()
  return row?.at === null || row?.at === undefined ? null : Number(row.at)
}
export async function checksOf(db: Db, filter: { projects: 'all' | readonly string[]; changeId?: string | undefined; ticketId?: string | undefined; attemptId?: string | undefined; repositoryId?: string | undefined }, before: { at: number; id: string } | null, limit: number): Promise<CheckRow[]> {
  let query = db.selectFrom('check_runs').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit)
  query = inProjects(query, 'project_id', filter.projects)
  if (filter.changeId !== undefined) query = query.where('change_id', '=', filter.changeId)
  if (filter.ticketId !== undefined) query = query.where('ticket_id', '=', filter.ticketId)
  if (filter.attemptId !== undefined) query = query.where('attempt_id', '=', filter.attemptId)
  if (filter.repositoryId !== undefined) query = query.where('repository_id', '=', filter.repositoryId)
  if (before) query = query.where((where) => where.or([where('created_at', '<', before.at), where.and([where('created_at', '=', before.at), where('id', '<', before.id)])]))
  return await query.execute()
}
