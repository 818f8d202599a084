import type { Kysely, Selectable } from 'kysely'
import { forUpdate } from '../../db/dialect.ts'
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

/** Newest first; `before` is the (created_at, id) of the last one seen. */
export async function approvals(db: Kysely<Schema>, filter: { status?: string | undefined; projectId?: string | undefined; subjectId?: string | undefined }, before: { at: number; id: string } | null, limit: number): Promise<Row[]> {
  let query = db.selectFrom('approvals').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit)
  if (filter.status !== undefined) query = query.where('status', '=', filter.status)
  if (filter.projectId !== undefined) query = query.where('project_id', '=', filter.projectId)
  if (filter.subjectId !== undefined) query = query.where('subject_id', '=', filter.subjectId)
  if (before) query = query.where((eb) => eb.or([eb('created_at', '<', before.at), eb.and([eb('created_at', '=', before.at), eb('id', '<', before.id)])]))
  return query.execute()
}
