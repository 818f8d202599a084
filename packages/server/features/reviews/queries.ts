import type { Selectable, Updateable } from 'kysely'
import type { Read } from '../../db/database.ts'
import { forUpdate } from '../../db/dialect.ts'
import type { AgentReviewStepsTable, AgentReviewsTable, ApprovalsTable, ChangeCommentsTable, ChangeReviewsTable, ChangesTable, TicketsTable } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'

export type Db = Read | Trx
export type ChangeRow = Selectable<ChangesTable>
export type ReviewRow = Selectable<ChangeReviewsTable>
export type CommentRow = Selectable<ChangeCommentsTable>
export type AgentReviewRow = Selectable<AgentReviewsTable>
export type ApprovalRow = Selectable<ApprovalsTable>
export type TicketRow = Selectable<TicketsTable>

export async function changeById(db: Db, id: string): Promise<ChangeRow | undefined> {
  return await db.selectFrom('changes').selectAll().where((where) => where.or([where('id', '=', id), where('ticket_id', '=', id)])).executeTakeFirst()
}
export async function ticketById(db: Db, id: string): Promise<TicketRow | undefined> {
  return await db.selectFrom('tickets').selectAll().where('id', '=', id).executeTakeFirst()
}

/** Who ordered the work on a change: whoever made its ticket, or started the build that it belongs to. */
export async function authorOf(db: Db, changeId: string): Promise<string | null> {
  const ticket = await db.selectFrom('changes').innerJoin('tickets', 'tickets.id', 'changes.ticket_id').select(['tickets.requested_by', 'tickets.session_id']).where('changes.id', '=', changeId).executeTakeFirst()
  if (!ticket?.session_id) return ticket?.requested_by ?? null
  const build = await db.selectFrom('approvals').select('decided_by').where('kind', '=', 'build_start').where('subject_kind', '=', 'session').where('subject_id', '=', ticket.session_id).where('status', '=', 'approved')
    .orderBy('decided_at', 'desc').executeTakeFirst()
  return build?.decided_by ?? null
}

/** Approvals of the merge of this change, newest first. */
export async function mergeApprovals(db: Db, changeId: string): Promise<ApprovalRow[]> {
  return await db.selectFrom('approvals').selectAll().where('kind', '=', 'merge').where('subject_kind', '=', 'change').where('subject_id', '=', changeId).orderBy('created_at', 'desc').orderBy('id', 'desc').limit(20).execute()
}
/** The open one, with its row locked on PostgreSQL: reviewers at once see each other's words one after the other. */
export async function lockedMergeApproval(trx: Trx, changeId: string): Promise<ApprovalRow | undefined> {
  return await forUpdate(trx, trx.selectFrom('approvals').selectAll().where('kind', '=', 'merge').where('subject_kind', '=', 'change').where('subject_id', '=', changeId).where('status', '=', 'pending')).executeTakeFirst()
}

export async function insertReview(trx: Trx, row: ReviewRow): Promise<void> {
  await trx.insertInto('change_reviews').values(row).execute()
}
export async function reviewPage(db: Db, changeId: string, before: { at: number; id: string } | null, limit: number): Promise<ReviewRow[]> {
  let query = db.selectFrom('change_reviews').selectAll().where('change_id', '=', changeId).orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit)
  if (before) query = query.where((where) => where.or([where('created_at', '<', before.at), where.and([where('created_at', '=', before.at), where('id', '<', before.id)])]))
  return await query.execute()
}
/** What a person said last under an approval (null: while nobody was asked) about this head. */
export async function lastReviewBy(db: Db, about: { changeId: string; headSha: string; approvalId: string | null; reviewer: string }): Promise<ReviewRow | undefined> {
  return await db.selectFrom('change_reviews').selectAll().where('change_id', '=', about.changeId).where('head_sha', '=', about.headSha).where('reviewer', '=', about.reviewer)
    .where('approval_id', about.approvalId === null ? 'is' : '=', about.approvalId).orderBy('created_at', 'desc').orderBy('id', 'desc').executeTakeFirst()
}
/** Different people whose approving review counts for this approval, in the order in which they approved. */
export async function approversOf(db: Db, approvalId: string): Promise<string[]> {
  const rows = await db.selectFrom('change_reviews').select('reviewer').where('approval_id', '=', approvalId).where('kind', '=', 'person').where('verdict', '=', 'approve').where('counts', '=', 1).orderBy('created_at').orderBy('id').execute()
  return [...new Set(rows.map((row) => row.reviewer))]
}
/** How often the agent reviewer looked at this change, and how often it sent it back. */
export async function agentRounds(db: Db, changeId: string): Promise<{ reviews: number; returned: number }> {
  const rows = await db.selectFrom('change_reviews').select('returned').where('change_id', '=', changeId).where('kind', '=', 'agent').execute()
  return { reviews: rows.length, returned: rows.filter((row) => row.returned === 1).length }
}
export async function commentCounts(db: Db, reviewIds: readonly string[]): Promise<Map<string, number>> {
  const rows = await db.selectFrom('change_comments').select('review_id').select((each) => each.fn.countAll<number>().as('count')).where('review_id', 'in', [...reviewIds, '']).groupBy('review_id').execute()
  return new Map(rows.map((row) => [row.review_id ?? '', Number(row.count)]))
}

export async function insertComment(trx: Trx, row: CommentRow): Promise<void> {
  await trx.insertInto('change_comments').values(row).execute()
}
export async function commentById(db: Db, changeId: string, id: string): Promise<CommentRow | undefined> {
  return await db.selectFrom('change_comments').selectAll().where('change_id', '=', changeId).where('id', '=', id).where('parent_id', 'is', null).executeTakeFirst()
}
/** Comments that `viewer` may see, oldest first: those that were sent, and the viewer's drafts. */
export async function commentPage(db: Db, filter: { changeId: string; viewer: string; resolved?: boolean | undefined }, after: { at: number; id: string } | null, limit: number): Promise<CommentRow[]> {
  let query = db.selectFrom('change_comments').selectAll().where('change_id', '=', filter.changeId).where('parent_id', 'is', null)
    .where((where) => where.or([where('sent_at', 'is not', null), where('author', '=', filter.viewer)])).orderBy('created_at').orderBy('id').limit(limit)
  if (filter.resolved !== undefined) query = query.where('resolved_at', filter.resolved ? 'is not' : 'is', null)
  if (after) query = query.where((where) => where.or([where('created_at', '>', after.at), where.and([where('created_at', '=', after.at), where('id', '>', after.id)])]))
  return await query.execute()
}
/** Comments that were sent and are not resolved, oldest first. */
export async function openComments(db: Db, changeId: string): Promise<CommentRow[]> {
  return await db.selectFrom('change_comments').selectAll().where('change_id', '=', changeId).where('parent_id', 'is', null).where('sent_at', 'is not', null).where('resolved_at', 'is', null).orderBy('created_at').orderBy('id').execute()
}
export async function repliesTo(db: Db, ids: readonly string[]): Promise<CommentRow[]> {
  return await db.selectFrom('change_comments').selectAll().where('parent_id', 'in', [...ids, '']).orderBy('created_at').orderBy('id').execute()
}
export async function draftCount(db: Db, changeId: string, author: string): Promise<number> {
  const { count } = await db.selectFrom('change_comments').select((each) => each.fn.countAll<number>().as('count')).where('change_id', '=', changeId).where('author', '=', author).where('sent_at', 'is', null).executeTakeFirstOrThrow()
  return Number(count)
}
/** Sends all drafts of a reviewer with one review. Returns their ids. */
export async function sendDrafts(trx: Trx, about: { changeId: string; author: string; reviewId: string; at: number }): Promise<string[]> {
  const rows = await trx.updateTable('change_comments').set({ review_id: about.reviewId, sent_at: about.at }).where('change_id', '=', about.changeId).where('author', '=', about.author).where('sent_at', 'is', null).returning('id').execute()
  return rows.map((row) => row.id).sort()
}
/** False when it is no draft of this author (any more). */
export async function editDraft(trx: Trx, draft: { changeId: string; id: string; author: string }, body: string): Promise<boolean> {
  const result = await trx.updateTable('change_comments').set({ body }).where('change_id', '=', draft.changeId).where('id', '=', draft.id).where('author', '=', draft.author).where('sent_at', 'is', null).executeTakeFirst()
  return result.numUpdatedRows === 1n
}
export async function deleteDraft(trx: Trx, draft: { changeId: string; id: string; author: string }): Promise<boolean> {
  const result = await trx.deleteFrom('change_comments').where('change_id', '=', draft.changeId).where('id', '=', draft.id).where('author', '=', draft.author).where('sent_at', 'is', null).executeTakeFirst()
  return result.numDeletedRows === 1n
}
/** False when it was so already. */
export async function settleComment(trx: Trx, id: string, resolved: { by: string; at: number } | null): Promise<boolean> {
  const result = await trx.updateTable('change_comments').set({ resolved_by: resolved?.by ?? null, resolved_at: resolved?.at ?? null }).where('id', '=', id).where('resolved_at', resolved ? 'is' : 'is not', null).executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** Puts a head before the agent reviewer; one that it saw before is looked at anew. */
export async function putAgentReview(trx: Trx, row: AgentReviewRow): Promise<void> {
  const { change_id: _, head_sha: __, ...again } = row
  await trx.insertInto('agent_reviews').values(row).onConflict((conflict) => conflict.columns(['change_id', 'head_sha']).doUpdateSet(again)).execute()
}
export async function agentReviewOf(db: Db, changeId: string, headSha: string): Promise<AgentReviewRow | undefined> {
  return await db.selectFrom('agent_reviews').selectAll().where('change_id', '=', changeId).where('head_sha', '=', headSha).executeTakeFirst()
}
/** Those that may be worked on: of the head that its change has, in review, due, and not waiting for a decision about money. */
function reviewable(db: Db) {
  return db.selectFrom('agent_reviews').innerJoin('changes', 'changes.id', 'agent_reviews.change_id').innerJoin('tickets', 'tickets.id', 'changes.ticket_id')
    .where('agent_reviews.state', '=', 'pending').where('changes.state', '=', 'open').whereRef('changes.head_sha', '=', 'agent_reviews.head_sha').where('tickets.state', '=', 'in_review')
    .where((where) => where.or([
      where('agent_reviews.waits_approval_id', 'is', null),
      where.not(where.exists(where.selectFrom('approvals').select('approvals.id').whereRef('approvals.id', '=', 'agent_reviews.waits_approval_id').where('approvals.status', '=', 'pending'))),
    ]))
}
/**
 * The oldest one that this process may take, or undefined. `orphaned`: what another process holds is free at once (on SQLite
 * that one is gone). `except`: changes that this process works on already.
 */
export async function nextAgentReview(db: Db, by: { owner: string; now: number; orphaned: boolean; except: readonly string[] }): Promise<AgentReviewRow | undefined> {
  return await reviewable(db).selectAll('agent_reviews')
    .where((where) => where.or([where('agent_reviews.retry_at', 'is', null), where('agent_reviews.retry_at', '<=', by.now)]))
    .where((where) => where.or([where('agent_reviews.lease_expires_at', 'is', null), where('agent_reviews.lease_expires_at', '<', by.now), ...(by.orphaned ? [where('agent_reviews.owner', '!=', by.owner)] : [])]))
    .where('agent_reviews.change_id', 'not in', [...by.except, '']).orderBy('agent_reviews.created_at').orderBy('agent_reviews.change_id').limit(1).executeTakeFirst()
}
/** Takes it under a lease: false when another process was faster. */
export async function takeAgentReview(trx: Trx, row: AgentReviewRow, lease: { owner: string; until: number }): Promise<boolean> {
  const result = await trx.updateTable('agent_reviews').set({ owner: lease.owner, lease_expires_at: lease.until }).where('change_id', '=', row.change_id).where('head_sha', '=', row.head_sha).where('state', '=', 'pending')
    .where('lease_expires_at', row.lease_expires_at === null ? 'is' : '=', row.lease_expires_at).where('owner', row.owner === null ? 'is' : '=', row.owner).executeTakeFirst()
  return result.numUpdatedRows === 1n
}
/** Compare-and-set on state and owner: false when this process no longer holds it. */
export async function patchAgentReview(trx: Trx, held: { change_id: string; head_sha: string; owner: string | null }, patch: Updateable<AgentReviewsTable>): Promise<boolean> {
  const result = await trx.updateTable('agent_reviews').set(patch).where('change_id', '=', held.change_id).where('head_sha', '=', held.head_sha).where('state', '=', 'pending').where('owner', '=', held.owner).executeTakeFirst()
  return result.numUpdatedRows === 1n
}
/** When one that rests may be tried again. */
export async function nextAgentReviewAt(db: Db, now: number): Promise<number | null> {
  const row = await db.selectFrom('agent_reviews').select((each) => [each.fn.min('retry_at').as('retry'), each.fn.min('lease_expires_at').as('lease')]).where('state', '=', 'pending')
    .where((where) => where.or([where('retry_at', '>', now), where('lease_expires_at', '>', now)])).executeTakeFirst()
  const times = [row?.retry, row?.lease].flatMap((at) => (at == null || Number(at) <= now ? [] : [Number(at)]))
  return times.length === 0 ? null : Math.min(...times)
}
export async function approvalStatus(db: Db, id: string): Promise<string | null> {
  return (await db.selectFrom('approvals').select('status').where('id', '=', id).executeTakeFirst())?.status ?? null
}

export async function stepAnswer(db: Db, step: Omit<Selectable<AgentReviewStepsTable>, 'response' | 'created_at'>): Promise<string | undefined> {
  return (await db.selectFrom('agent_review_steps').select('response').where('change_id', '=', step.change_id).where('head_sha', '=', step.head_sha).where('step', '=', step.step).where('request_digest', '=', step.request_digest).executeTakeFirst())?.response
}
export async function insertStep(trx: Trx, row: Selectable<AgentReviewStepsTable>): Promise<void> {
  await trx.insertInto('agent_review_steps').values(row).onConflict((conflict) => conflict.doNothing()).execute()
}
