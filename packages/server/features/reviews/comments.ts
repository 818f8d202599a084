import type { EvidenceComment } from '@swarm/contract/agent-protocol.ts'
import type { ReviewComment } from '@swarm/contract/endpoints/reviews.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { boundedComments } from '@swarm/core/review/batch.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { ReviewDependencies } from './dependencies.ts'
import type { Places } from './places.ts'
import { presentComment } from './present.ts'
import { changeById, commentById, deleteDraft, draftCount, editDraft, insertComment, openComments, repliesTo, settleComment, type ChangeRow, type CommentRow } from './queries.ts'

/** Drafts of one reviewer on one change, and answers to one comment. */
const MAX_DRAFTS = 200
const MAX_REPLIES = 100

/** @throws not_found */
export async function requireChange(db: ReviewDependencies['db']['read'] | Trx, id: string): Promise<ChangeRow> {
  const change = await changeById(db, id)
  if (!change) throw new DomainError('not_found', { kind: 'change', id })
  return change
}

/** @throws review_not_open, review_outdated: it is about another head than the one that the change has */
export function requireHead(change: ChangeRow, headSha: string): void {
  if (change.state !== 'open') throw new DomainError('review_not_open', { changeId: change.id, state: `it is ${change.state}` })
  if (change.head_sha !== headSha) throw new DomainError('review_outdated', { changeId: change.id, currentSha: change.head_sha, givenSha: headSha })
}

/** What people may do with comments on lines. `author` is who acts, as `<kind> <id>`. */
export function createComments(deps: ReviewDependencies, places: Places) {
  const { db } = deps
  const requireComment = async (trx: Trx, changeId: string, id: string, viewer: string): Promise<CommentRow> => {
    const comment = await commentById(trx, changeId, id)
    // A draft of somebody else does not exist for others.
    if (!comment || (comment.sent_at === null && comment.author !== viewer)) throw new DomainError('not_found', { kind: 'comment', id })
    return comment
  }
  const tell = (trx: Trx, change: ChangeRow, correlationId: string, data: Record<string, unknown>): Promise<void> => appendEvents(trx, [{
    type: 'change:commented', projectId: change.project_id, subject: { kind: 'change', id: change.id }, correlationId, data: { ticketId: change.ticket_id, ...data },
  }])
  /** As people see them, placed in the head that the change has now. */
  const present = async (change: ChangeRow, rows: readonly CommentRow[]): Promise<ReviewComment[]> => {
    const { path } = await deps.locate(change.repository_id)
    const replies = Map.groupBy(await repliesTo(db.read, rows.map((row) => row.id)), (reply) => reply.parent_id)
    const presented: ReviewComment[] = []
    for (const row of rows) presented.push(presentComment(row, await places.now(path, row, change), replies.get(row.id) ?? []))
    return presented
  }
  const one = async (change: ChangeRow, row: CommentRow): Promise<ReviewComment> => (await present(change, [row]))[0]!

  return {
    present,

    /** @throws not_found, review_not_open, review_outdated, comment_place_unknown, too_many_comments */
    async draft(input: { changeId: string; path: string; side: 'old' | 'new'; startLine: number; line: number; body: string; headSha: string; author: string }): Promise<ReviewComment> {
      const change = await requireChange(db.read, input.changeId)
      requireHead(change, input.headSha)
      const quoted = await places.quote((await deps.locate(change.repository_id)).path, input.side === 'old' ? change.base_sha : change.head_sha, input)
      if (quoted === null) throw new DomainError('comment_place_unknown', { path: input.path, side: input.side, startLine: input.startLine, line: input.line })
      const row = await db.write(async (trx) => {
        requireHead(await requireChange(trx, change.id), input.headSha)
        if (await draftCount(trx, change.id, input.author) >= MAX_DRAFTS) throw new DomainError('too_many_comments', { limit: MAX_DRAFTS, what: 'drafts of yours on this change' })
        const made: CommentRow = {
          id: deps.makeId('comment'), change_id: change.id, project_id: change.project_id, review_id: null, parent_id: null, author: input.author, base_sha: change.base_sha, head_sha: change.head_sha,
          path: input.path, side: input.side, start_line: input.startLine, line: input.line, quoted, body: input.body, resolved_by: null, resolved_at: null, sent_at: null, created_at: deps.now(),
        }
        await insertComment(trx, made)
        return made
      })
      return await one(change, row)
    },

    /** @throws not_found, comment_not_draft */
    async edit(input: { changeId: string; commentId: string; body: string; author: string }): Promise<ReviewComment> {
      const change = await requireChange(db.read, input.changeId)
      const row = await db.write(async (trx) => {
        const comment = await requireComment(trx, change.id, input.commentId, input.author)
        if (!await editDraft(trx, { changeId: change.id, id: comment.id, author: input.author }, input.body)) throw new DomainError('comment_not_draft', { id: comment.id })
        return { ...comment, body: input.body }
      })
      return await one(change, row)
    },

    /** @throws not_found, comment_not_draft */
    async discard(input: { changeId: string; commentId: string; author: string }): Promise<void> {
      const change = await requireChange(db.read, input.changeId)
      await db.write(async (trx) => {
        const comment = await requireComment(trx, change.id, input.commentId, input.author)
        if (!await deleteDraft(trx, { changeId: change.id, id: comment.id, author: input.author })) throw new DomainError('comment_not_draft', { id: comment.id })
      })
    },

    /** @throws not_found, too_many_comments */
    async reply(input: { changeId: string; commentId: string; body: string; author: string; correlationId: string }): Promise<ReviewComment> {
      const change = await requireChange(db.read, input.changeId)
      const row = await db.write(async (trx) => {
        const comment = await requireComment(trx, change.id, input.commentId, input.author)
        // One's own draft is no conversation yet: it is edited.
        if (comment.sent_at === null) throw new DomainError('not_found', { kind: 'comment', id: comment.id })
        if ((await repliesTo(trx, [comment.id])).length >= MAX_REPLIES) throw new DomainError('too_many_comments', { limit: MAX_REPLIES, what: 'answers to this comment' })
        const now = deps.now()
        const reply: CommentRow = { ...comment, id: deps.makeId('comment'), review_id: null, parent_id: comment.id, author: input.author, quoted: '', body: input.body, resolved_by: null, resolved_at: null, sent_at: now, created_at: now }
        await insertComment(trx, reply)
        await tell(trx, change, input.correlationId, { commentId: comment.id, replyId: reply.id, path: comment.path, by: input.author, what: 'replied' })
        return comment
      })
      return await one(change, row)
    },

    /** @throws not_found */
    async resolve(input: { changeId: string; commentId: string; resolved: boolean; author: string; correlationId: string }): Promise<ReviewComment> {
      const change = await requireChange(db.read, input.changeId)
      const row = await db.write(async (trx) => {
        const comment = await requireComment(trx, change.id, input.commentId, input.author)
        if (comment.sent_at === null) throw new DomainError('not_found', { kind: 'comment', id: comment.id })
        const by = input.resolved ? { by: input.author, at: deps.now() } : null
        if (!await settleComment(trx, comment.id, by)) return comment
        await tell(trx, change, input.correlationId, { commentId: comment.id, path: comment.path, by: input.author, what: input.resolved ? 'resolved' : 'reopened' })
        return { ...comment, resolved_by: by?.by ?? null, resolved_at: by?.at ?? null }
      })
      return await one(change, row)
    },

    /** Every comment that was sent and is not resolved, as the next attempt gets it. Their lines are those of the commit that each was made on. */
    async batch(trx: Trx, changeId: string): Promise<EvidenceComment[]> {
      const rows = await openComments(trx, changeId)
      const replies = Map.groupBy(await repliesTo(trx, rows.map((row) => row.id)), (reply) => reply.parent_id)
      return boundedComments(rows.map((row): EvidenceComment => ({
        id: row.id, author: row.author, path: row.path, side: row.side as 'old' | 'new', startLine: row.start_line, line: row.line, headSha: row.side === 'old' ? row.base_sha : row.head_sha, quoted: row.quoted, body: row.body,
        replies: (replies.get(row.id) ?? []).map(({ author, body }) => ({ author, body })),
      })))
    },
  }
}
export type Comments = ReturnType<typeof createComments>
