import { addComment, discardComment, editComment, listComments, listReviews, replyToComment, resolveComment, submitReview } from '@swarm/contract/endpoints/reviews.ts'
import type { Duty } from '../../coordinator/duty.ts'
import { readPosition } from '../../http/pages.ts'
import { register, type HttpTarget } from '../../http/register.ts'
import type { Principal } from '../../http/tokens.ts'
import type { ReviewCommands } from '../../ports.ts'
import { createAgentReviewer } from './agent-reviewer.ts'
import { createComments, requireChange } from './comments.ts'
import type { ReviewDependencies } from './dependencies.ts'
import { createPlaces } from './places.ts'
import { presentReview } from './present.ts'
import { commentCounts, commentPage, reviewPage } from './queries.ts'
import { createReviewService } from './service.ts'

const nameOf = (principal: Principal): string => `${principal.kind} ${principal.id}`

/** Reviews of changes: comments on lines, verdicts of people, and the agent reviewer, which the coordinator runs by `duty`. */
export function createReviews(http: HttpTarget, deps: ReviewDependencies): AsyncDisposable & { readonly commands: ReviewCommands; readonly duty: Duty; idle(): Promise<void> } {
  const { db } = deps
  const places = createPlaces()
  const comments = createComments(deps, places)
  const service = createReviewService(deps, comments)
  const agent = createAgentReviewer(deps, comments, places)

  register(http, listComments, async ({ params, query, principal }) => {
    const change = await requireChange(db.read, params.changeId)
    const filter = { changeId: change.id, viewer: nameOf(principal), resolved: query.resolved === undefined ? undefined : query.resolved === 'true' }
    const rows = await commentPage(db.read, filter, readPosition(query.cursor), query.limit + 1)
    const last = rows[query.limit - 1]
    return { items: await comments.present(change, rows.slice(0, query.limit)), nextCursor: rows.length > query.limit && last ? `${last.created_at}.${last.id}` : null }
  })
  register(http, addComment, async ({ params, body, principal }) => comments.draft({ ...params, ...body, startLine: body.startLine ?? body.line, author: nameOf(principal) }))
  register(http, editComment, async ({ params, body, principal }) => comments.edit({ ...params, ...body, author: nameOf(principal) }))
  register(http, discardComment, async ({ params, principal }) => { await comments.discard({ ...params, author: nameOf(principal) }) })
  register(http, replyToComment, async ({ params, body, principal, correlationId }) => comments.reply({ ...params, ...body, author: nameOf(principal), correlationId }))
  register(http, resolveComment, async ({ params, body, principal, correlationId }) => comments.resolve({ ...params, ...body, author: nameOf(principal), correlationId }))

  register(http, listReviews, async ({ params, query }) => {
    const change = await requireChange(db.read, params.changeId)
    const rows = await reviewPage(db.read, change.id, readPosition(query.cursor), query.limit + 1)
    const last = rows[query.limit - 1]
    const shown = rows.slice(0, query.limit)
    const counts = await commentCounts(db.read, shown.map((row) => row.id))
    return {
      items: shown.map((row) => presentReview(row, counts.get(row.id) ?? 0)), nextCursor: rows.length > query.limit && last ? `${last.created_at}.${last.id}` : null,
      standing: await service.standing(db.read, change.id),
    }
  })
  register(http, submitReview, async ({ params, body, principal, correlationId }) => {
    const change = await requireChange(db.read, params.changeId)
    const mayMerge = await deps.mayMerge(principal, change.project_id)
    const review = await db.write((trx) => service.submit(trx, { changeId: change.id, headSha: body.headSha, verdict: body.verdict, summary: body.summary, payloadHash: body.payloadHash, reviewer: nameOf(principal), mayMerge, correlationId }))
    return { ...presentReview(review, (await commentCounts(db.read, [review.id])).get(review.id) ?? 0), standing: await service.standing(db.read, change.id) }
  })

  return { commands: service.commands, duty: agent.duty, idle: agent.idle, [Symbol.asyncDispose]: () => agent[Symbol.asyncDispose]() }
}
