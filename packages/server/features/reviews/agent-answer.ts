import { REVIEW_TOKEN_CAP } from '@swarm/core/review/requests.ts'
import { canonicalJson } from '@swarm/core/approvals/approval.ts'
import type { DesignRequest } from '@swarm/core/design/chunks.ts'
import { againRequest } from '@swarm/core/design/requests.ts'
import { shorten } from '@swarm/core/design/text.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { sha256 } from '@swarm/contract/evidence-envelope.ts'
import { z } from 'zod'
import { json } from '../../db/json.ts'
import { submitted } from '../../model-answer.ts'
import type { ReviewDependencies } from './dependencies.ts'
import { insertStep, stepAnswer } from './queries.ts'

/** The shape in which the model hands in its review: lenient in lengths, strict in what decides. */
const text = (limit: number) => z.string().transform((value) => shorten(value.trim(), limit))
const Line = z.number().int().min(1)
export const AgentReviewAnswer = z.object({
  score: z.number().min(0).max(100).transform(Math.round), verdict: z.enum(['approve', 'request_changes']),
  reasons: z.array(text(500)).max(50).transform((reasons) => reasons.filter((reason) => reason !== '')),
  comments: z.array(z.object({ path: z.string().max(1_000), startLine: Line.nullish(), line: Line, body: text(5_000) })).max(100).default([])
    .transform((comments) => comments.filter(({ body }) => body !== '').map((comment) => ({ ...comment, startLine: Math.min(comment.startLine ?? comment.line, comment.line) }))),
})
export type AgentReviewAnswer = z.output<typeof AgentReviewAnswer>

export interface Asked { readonly changeId: string; readonly headSha: string; readonly projectId: string; readonly sessionId: string | null; readonly ticketId: string; readonly correlationId: string }

/**
 * Asks for one step through the journal: an answer is written down, by the digest of its request, before it is used, so that
 * one that was given is never paid again. One that cannot be used is asked for once more, with the reason.
 * @throws DomainError review_answer_malformed {step, problem}; what the gateway throws; the signal's reason
 */
export async function askReviewer(deps: ReviewDependencies, about: Asked, step: string, request: DesignRequest, signal: AbortSignal): Promise<AgentReviewAnswer> {
  const first = submitted(await answerOf(deps, about, step, request, signal), AgentReviewAnswer)
  if (first.ok) return first.value
  const second = submitted(await answerOf(deps, about, step, againRequest(request, first.problem, REVIEW_TOKEN_CAP), signal), AgentReviewAnswer)
  if (second.ok) return second.value
  throw new DomainError('review_answer_malformed', { step, problem: second.problem })
}

async function answerOf(deps: ReviewDependencies, about: Asked, step: string, request: DesignRequest, signal: AbortSignal): Promise<unknown> {
  signal.throwIfAborted()
  const full = { model: deps.model, ...request }
  const key = { change_id: about.changeId, head_sha: about.headSha, step, request_digest: sha256(canonicalJson(full)) }
  const known = await stepAnswer(deps.db.read, key)
  if (known !== undefined) return JSON.parse(known) as unknown
  const { projectId, sessionId, ticketId, correlationId } = about
  const response = await deps.callModel(full, { step, projectId, sessionId, ticketId, correlationId, signal })
  await deps.db.write((trx) => insertStep(trx, { ...key, response: json(response ?? null), created_at: deps.now() }))
  return response
}
