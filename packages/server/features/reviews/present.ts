import type { Review, ReviewComment } from '@swarm/contract/endpoints/reviews.ts'
import type { Verdict } from '@swarm/core/review/verdicts.ts'
import type { CommentPlace } from './places.ts'
import type { CommentRow, ReviewRow } from './queries.ts'

export function presentReview(row: ReviewRow, comments: number): Review {
  return {
    id: row.id, changeId: row.change_id, headSha: row.head_sha, reviewer: row.reviewer, kind: row.kind as Review['kind'], verdict: row.verdict as Verdict, counts: row.counts === 1,
    summary: row.summary, score: row.score, reasons: JSON.parse(row.reasons) as string[], comments, approvalId: row.approval_id, createdAt: row.created_at,
  }
}

/** @param place where its lines are now; null: they are not there as they were */
export function presentComment(row: CommentRow, place: CommentPlace | null, replies: readonly CommentRow[]): ReviewComment {
  const made = { path: row.path, startLine: row.start_line, line: row.line }
  return {
    id: row.id, changeId: row.change_id, author: row.author, draft: row.sent_at === null, reviewId: row.review_id, side: row.side as ReviewComment['side'],
    ...(place ?? made), outdated: place === null, made: { ...made, headSha: row.head_sha }, quoted: row.quoted, body: row.body, createdAt: row.created_at, sentAt: row.sent_at,
    resolved: row.resolved_at === null ? null : { by: row.resolved_by ?? '', at: row.resolved_at },
    replies: replies.map((reply) => ({ id: reply.id, author: reply.author, body: reply.body, createdAt: reply.created_at })),
  }
}
