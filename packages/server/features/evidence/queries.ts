import type { Selectable } from 'kysely'
import type { Read } from '../../db/database.ts'
import type { AgentVersionsTable, ApprovalsTable, AttemptsTable, ChangeCommentsTable, ChangeReviewsTable, ChangesTable, CheckRunsTable, EvidenceBundlesTable, EvidenceKeysTable, MergeEntriesTable, ModelCallsTable, TicketsTable, VmsTable } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'

type Db = Read | Trx
export type ChangeRow = Selectable<ChangesTable>
export type CheckRow = Selectable<CheckRunsTable>

/** Merged changes without evidence that were merged at `since` (ms) or later, oldest first; by index, so that what was sealed long ago costs nothing. */
export async function unsealedChanges(db: Db, since: number, limit: number): Promise<ChangeRow[]> {
  return await db.selectFrom('changes').leftJoin('evidence_bundles', 'evidence_bundles.change_id', 'changes.id').selectAll('changes')
    .where('changes.state', '=', 'merged').where('changes.updated_at', '>=', since).where('evidence_bundles.change_id', 'is', null)
    .orderBy('changes.updated_at').orderBy('changes.id').limit(limit).execute()
}
/** Of these tickets, those with a model call under way. */
export async function ticketsCalling(db: Db, ticketIds: readonly string[]): Promise<Set<string>> {
  const rows = await db.selectFrom('model_calls').select('ticket_id').distinct().where('state', '=', 'open').where('ticket_id', 'in', [...ticketIds, '']).execute()
  return new Set(rows.flatMap((row) => row.ticket_id ?? []))
}
export async function changeById(db: Db, id: string): Promise<ChangeRow | undefined> {
  return await db.selectFrom('changes').selectAll().where((where) => where.or([where('id', '=', id), where('ticket_id', '=', id)])).executeTakeFirst()
}
export async function bundleOf(db: Db, changeId: string): Promise<Selectable<EvidenceBundlesTable> | undefined> {
  return await db.selectFrom('evidence_bundles').selectAll().where('change_id', '=', changeId).executeTakeFirst()
}
/** False when the change has its bundle already: there is one and it stays. */
export async function addBundle(trx: Trx, row: Selectable<EvidenceBundlesTable>): Promise<boolean> {
  const result = await trx.insertInto('evidence_bundles').values(row).onConflict((conflict) => conflict.column('change_id').doNothing()).executeTakeFirst()
  return result.numInsertedOrUpdatedRows === 1n
}
export async function addKey(trx: Trx, row: Selectable<EvidenceKeysTable>): Promise<void> {
  await trx.insertInto('evidence_keys').values(row).onConflict((conflict) => conflict.column('id').doNothing()).execute()
}
export async function evidenceKeys(db: Db): Promise<Selectable<EvidenceKeysTable>[]> {
  return await db.selectFrom('evidence_keys').selectAll().orderBy('created_at').orderBy('id').execute()
}

/** Everything about one ticket that its evidence is made of, read at one moment after its end. */
export async function ticketFacts(db: Db, change: ChangeRow): Promise<{
  ticket: Selectable<TicketsTable>; attempts: Selectable<AttemptsTable>[]; entry: Selectable<MergeEntriesTable> | undefined; checks: CheckRow[]; calls: Selectable<ModelCallsTable>[]
  approvals: Selectable<ApprovalsTable>[]; agents: Selectable<AgentVersionsTable>[]; runners: { id: string; name: string }[]; reviews: Selectable<ChangeReviewsTable>[]; comments: Selectable<ChangeCommentsTable>[]
}> {
  const ticket = await db.selectFrom('tickets').selectAll().where('id', '=', change.ticket_id).executeTakeFirstOrThrow()
  const attempts = await db.selectFrom('attempts').selectAll().where('ticket_id', '=', ticket.id).orderBy('number').execute()
  const entry = await db.selectFrom('merge_entries').selectAll().where('change_id', '=', change.id).executeTakeFirst()
  const checks = await db.selectFrom('check_runs').selectAll()
    .where((where) => where.or([where('change_id', '=', change.id), where('ticket_id', '=', ticket.id), where('id', '=', entry?.check_id ?? '')])).orderBy('created_at').orderBy('id').execute()
  const calls = await db.selectFrom('model_calls').selectAll().where('ticket_id', '=', ticket.id).orderBy('created_at').orderBy('ended_at').orderBy('id').execute()
  const approvals = await db.selectFrom('approvals').selectAll()
    .where((where) => where.or([where.and([where('subject_kind', '=', 'change'), where('subject_id', '=', change.id)]), where.and([where('subject_kind', '=', 'session'), where('subject_id', '=', ticket.session_id ?? '')])]))
    .orderBy('created_at').orderBy('id').execute()
  const agents = await db.selectFrom('agent_versions').selectAll().where('name', 'in', [...attempts.map((attempt) => attempt.agent_name), '']).execute()
  const runners = await db.selectFrom('runners').select(['id', 'name']).execute()
  const reviews = await db.selectFrom('change_reviews').selectAll().where('change_id', '=', change.id).orderBy('created_at').orderBy('id').execute()
  const comments = await db.selectFrom('change_comments').selectAll().where('change_id', '=', change.id).where('review_id', 'is not', null).orderBy('created_at').orderBy('id').execute()
  return { ticket, attempts, entry, checks, calls, approvals, agents, runners, reviews, comments }
}
export async function checksById(db: Db, ids: readonly string[]): Promise<CheckRow[]> {
  return await db.selectFrom('check_runs').selectAll().where('id', 'in', [...ids, '']).orderBy('created_at').orderBy('id').execute()
}
/** The oldest pass of exactly this tree. */
export async function passOfTree(db: Db, repositoryId: string, treeSha: string): Promise<CheckRow | undefined> {
  return await db.selectFrom('check_runs').selectAll().where('repository_id', '=', repositoryId).where('tree_sha', '=', treeSha).where('state', '=', 'passed').orderBy('created_at').orderBy('id').executeTakeFirst()
}
export async function vmsOfWork(db: Db, workIds: readonly string[]): Promise<Selectable<VmsTable>[]> {
  return await db.selectFrom('vms').selectAll().where('work_id', 'in', [...workIds, '']).orderBy('started_at').orderBy('id').execute()
}
