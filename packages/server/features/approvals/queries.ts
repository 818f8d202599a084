import type { Kysely, Selectable } from 'kysely'
import { forUpdate, forUpdateSkipLocked } from '../../db/dialect.ts'
import { inProjects } from '../../db/projects.ts'
import type { ApprovalsTable, Schema } from '../../db/schema.ts'

type Row = Selectable<ApprovalsTable>

export async function approvalById(db: Kysely<Schema>, id: string): Promise<Row | undefined> {
  return db.selectFrom('approvals').selectAll().where('id', '=', id).executeTakeFirst()
}

/** The same, with its row locked on PostgreSQL: who decides second sees what the first has decided. */
export async function lockedApproval(db: Kysely<Schema>, id: string): Promise<Row | undefined> {
  return forUpdate(db, db.selectFrom('approvals').selectAll().where('id', '=', id)).executeTakeFirst()
}

export async function insertApproval(db: Kysely<Schema>, row: Row): Promise<void> {
  await db.insertInto('approvals').values(row).execute()
}

export async function openApprovalsOf(db: Kysely<Schema>, subject: { kind: string; id: string }): Promise<Row[]> {
  return db.selectFrom('approvals').selectAll().where('subject_kind', '=', subject.kind).where('subject_id', '=', subject.id).where('status', '=', 'pending').execute()
}

/** Compare-and-set from pending: false when somebody was first. */
export async function settleApproval(db: Kysely<Schema>, id: string, patch: Pick<Row, 'status' | 'decided_by' | 'decided_at' | 'decision_reason'>): Promise<boolean> {
  const result = await db.updateTable('approvals').set(patch).where('id', '=', id).where('status', '=', 'pending').executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** Marks an approved one as used: false when it was used before, or is not approved. */
export async function useApproval(db: Kysely<Schema>, id: string, now: number): Promise<boolean> {
  const result = await db.updateTable('approvals').set({ used_at: now }).where('id', '=', id).where('status', '=', 'approved').where('used_at', 'is', null).executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** An approved one of exactly this request that was not used yet. */
export async function grantedApproval(db: Kysely<Schema>, about: { kind: string; projectId: string; subject: { kind: string; id: string }; requester: string; payloadHash: string; now: number }): Promise<Row | undefined> {
  return forUpdate(db, db.selectFrom('approvals').selectAll().where('kind', '=', about.kind).where('project_id', '=', about.projectId)
    .where('subject_kind', '=', about.subject.kind).where('subject_id', '=', about.subject.id).where('requester', '=', about.requester).where('payload_hash', '=', about.payloadHash)
    .where('status', '=', 'approved').where('used_at', 'is', null).where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', about.now)]))
    .orderBy('created_at').limit(1)).executeTakeFirst()
}

/** One that waits and has a time behind it, the earliest to lapse first. */
export async function dueApproval(db: Kysely<Schema>, now: number): Promise<Row | undefined> {
  return forUpdateSkipLocked(db, db.selectFrom('approvals').selectAll().where('status', '=', 'pending')
    .where((eb) => eb.or([eb('remind_at', '<=', now), eb('escalate_at', '<=', now), eb('expires_at', '<=', now)])).orderBy('expires_at').orderBy('id').limit(1)).executeTakeFirst()
}

/** When the next approval that waits has something due, or null. */
export async function nextApprovalTime(db: Kysely<Schema>): Promise<number | null> {
  const row = await db.selectFrom('approvals').select((eb) => [eb.fn.min('remind_at').as('remind'), eb.fn.min('escalate_at').as('escalate'), eb.fn.min('expires_at').as('expire')]).where('status', '=', 'pending').executeTakeFirst()
  const times = [row?.remind, row?.escalate, row?.expire].filter((at) => at !== null && at !== undefined).map(Number)
  return times.length === 0 ? null : Math.min(...times)
}

export async function patchTimes(db: Kysely<Schema>, id: string, patch: Partial<Pick<Row, 'remind_at' | 'escalate_at' | 'escalated_to'>>): Promise<void> {
  await db.updateTable('approvals').set(patch).where('id', '=', id).execute()
}

/** Newest first; `before` is the (created_at, id) of the last one seen. */
export async function approvals(db: Kysely<Schema>, filter: { status?: string | undefined; projects: 'all' | readonly string[]; subjectId?: string | undefined }, before: { at: number; id: string } | null, limit: number): Promise<Row[]> {
  let query = db.selectFrom('approvals').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit)
  if (filter.status !== undefined) query = query.where('status', '=', filter.status)
  query = inProjects(query, 'project_id', filter.projects)
  if (filter.subjectId !== undefined) query = query.where('subject_id', '=', filter.subjectId)
  if (before) query = query.where((eb) => eb.or([eb('created_at', '<', before.at), eb.and([eb('created_at', '=', before.at), eb('id', '<', before.id)])]))
  return query.execute()
}
