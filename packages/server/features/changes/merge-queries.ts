import { BatchMember, MergePayload } from '@swarm/contract/endpoints/changes.ts'
import type { BatchState, LandingFacts } from '@swarm/core/merge/batches.ts'
import type { Selectable, Updateable } from 'kysely'
import { z } from 'zod'
import { fromJson } from '../../db/json.ts'
import type { MergeBatchesTable, MergeEntriesTable } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import { LIVE_ENTRY_STATES, type Db } from './queries.ts'

export type EntryRow = Selectable<MergeEntriesTable>
export type BatchRow = Selectable<MergeBatchesTable>

const Members = z.array(BatchMember)
export function membersOf(batch: Pick<BatchRow, 'members'>): BatchMember[] {
  return fromJson(Members, batch.members)
}

export async function entryOf(db: Db, changeId: string): Promise<EntryRow | undefined> {
  return await db.selectFrom('merge_entries').selectAll().where('change_id', '=', changeId).executeTakeFirst()
}
/** Repositories with something in the queue. */
export async function queuedRepositories(db: Db): Promise<string[]> {
  const rows = await db.selectFrom('merge_entries').select('repository_id').distinct().where('state', 'in', LIVE_ENTRY_STATES)
    .union(db.selectFrom('merge_batches').select('repository_id').where('state', '=', 'checking')).execute()
  return rows.map((row) => row.repository_id).toSorted()
}
export async function liveEntries(db: Db, repositoryId: string): Promise<EntryRow[]> {
  return await db.selectFrom('merge_entries').selectAll().where('repository_id', '=', repositoryId).where('state', 'in', LIVE_ENTRY_STATES)
    .orderBy('state').orderBy('created_at').orderBy('change_id').execute()
}
export async function upsertEntry(trx: Trx, row: EntryRow): Promise<void> {
  const { change_id: _, ...next } = row
  await trx.insertInto('merge_entries').values(row).onConflict((conflict) => conflict.column('change_id').doUpdateSet(next)).execute()
}
/** Compare-and-set on everything that a step of the queue relies on: false when another replica was first. */
export async function moveEntryRow(trx: Trx, entry: EntryRow, patch: Updateable<MergeEntriesTable>): Promise<boolean> {
  let update = trx.updateTable('merge_entries').set(patch).where('change_id', '=', entry.change_id).where('state', '=', entry.state).where('head_sha', '=', entry.head_sha).where('losses', '=', entry.losses)
  update = entry.batch_id === null ? update.where('batch_id', 'is', null) : update.where('batch_id', '=', entry.batch_id)
  return (await update.executeTakeFirst()).numUpdatedRows === 1n
}
/** What decides whether these changes may land (core/merge/batches.ts), by change. */
export async function landingFacts(db: Db, changeIds: readonly string[]): Promise<Map<string, LandingFacts>> {
  const rows = await db.selectFrom('merge_entries').innerJoin('tickets', 'tickets.id', 'merge_entries.ticket_id').innerJoin('changes', 'changes.id', 'merge_entries.change_id')
    .leftJoin('approvals', (join) => join.onRef('approvals.id', '=', 'merge_entries.approval_id').on('approvals.kind', '=', 'merge'))
    .select(['merge_entries.change_id', 'merge_entries.head_sha', 'tickets.state as ticket_state', 'changes.state as change_state', 'changes.head_sha as change_head', 'approvals.status', 'approvals.payload'])
    .where('merge_entries.change_id', 'in', [...changeIds, '']).execute()
  return new Map(rows.map((row) => {
    const shown = row.payload === null ? null : fromJson(MergePayload, row.payload)
    return [row.change_id, {
      headSha: row.head_sha, ticketState: row.ticket_state, change: { id: row.change_id, state: row.change_state, headSha: row.change_head },
      approval: shown === null ? null : { status: row.status ?? '', changeId: shown.changeId, headSha: shown.headSha },
    }]
  }))
}

export async function liveBatch(db: Db, repositoryId: string): Promise<BatchRow | undefined> {
  return await db.selectFrom('merge_batches').selectAll().where('repository_id', '=', repositoryId).where('state', '=', 'checking').executeTakeFirst()
}
export async function lastRedBatch(db: Db, repositoryId: string): Promise<BatchRow | undefined> {
  return await db.selectFrom('merge_batches').selectAll().where('repository_id', '=', repositoryId).where('state', '=', 'red').orderBy('created_at', 'desc').orderBy('id', 'desc').limit(1).executeTakeFirst()
}
export async function latestBatches(db: Db, repositoryId: string, limit: number): Promise<BatchRow[]> {
  return await db.selectFrom('merge_batches').selectAll().where('repository_id', '=', repositoryId).orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit).execute()
}
export async function insertBatch(trx: Trx, row: BatchRow): Promise<void> {
  await trx.insertInto('merge_batches').values(row).execute()
}
/** Compare-and-set from `checking`, the one state that a batch leaves. */
export async function endBatchRow(trx: Trx, batch: BatchRow, to: BatchState, patch: { reason: string | null; ended_at: number }): Promise<boolean> {
  return (await trx.updateTable('merge_batches').set({ ...patch, state: to }).where('id', '=', batch.id).where('state', '=', 'checking').executeTakeFirst()).numUpdatedRows === 1n
}
export async function entriesOfBatch(db: Db, batchId: string): Promise<EntryRow[]> {
  return await db.selectFrom('merge_entries').selectAll().where('batch_id', '=', batchId).where('state', '=', 'checking').orderBy('created_at').orderBy('change_id').execute()
}

export async function queueState(db: Db, repositoryId: string): Promise<{ paused_reason: string | null; updated_at: number } | undefined> {
  return await db.selectFrom('merge_queues').select(['paused_reason', 'updated_at']).where('repository_id', '=', repositoryId).executeTakeFirst()
}
export async function setQueue(trx: Trx, repositoryId: string, pausedReason: string | null, now: number): Promise<void> {
  const values = { paused_reason: pausedReason, updated_at: now }
  await trx.insertInto('merge_queues').values({ repository_id: repositoryId, ...values }).onConflict((conflict) => conflict.column('repository_id').doUpdateSet(values)).execute()
}
