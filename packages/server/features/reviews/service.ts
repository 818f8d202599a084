import type { ReviewStanding } from '@swarm/contract/endpoints/reviews.ts'
import { MergePayload } from '@swarm/contract/endpoints/changes.ts'
import { isCleanMerge } from '@swarm/core/approvals/approval.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { VERDICTS, verdictOf, type Verdict } from '@swarm/core/review/verdicts.ts'
import { signal, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { ReviewCommands } from '../../ports.ts'
import { requireChange, requireHead, type Comments } from './comments.ts'
import type { ReviewDependencies } from './dependencies.ts'
import { agentReviewOf, approversOf, authorOf, changeById, draftCount, insertReview, lastReviewBy, lockedMergeApproval, mergeApprovals, putAgentReview, sendDrafts, type ChangeRow, type Db, type ReviewRow } from './queries.ts'

/** What an approval keeps of the words that came with a decision. */
const MAX_REASON = 2_000
const YES_FLAG = / \(--yes\)$/

/**
 * Asks people about the merge of exactly what `payload` shows, unless the policies say otherwise of the agent's wish to merge it:
 * what they let an agent merge by itself is approved in their name, where nothing is left for a person to look at; what they forbid
 * is rejected in their name.
 */
export async function requestMerge(trx: Trx, deps: Pick<ReviewDependencies, 'approvals' | 'mergePolicy'>, about: { projectId: string; payload: MergePayload; correlationId: string }): Promise<void> {
  const { projectId, payload, correlationId } = about
  const approvalId = await deps.approvals.request(trx, { kind: 'merge', projectId, subject: { kind: 'change', id: payload.changeId }, requester: 'swarm', payload, yesAllowed: isCleanMerge(payload), correlationId })
  const { outcome, policies } = await deps.mergePolicy(trx, payload)
  if (outcome === 'approval' || (outcome === 'allow' && !isCleanMerge(payload))) return
  await deps.approvals.decideByPolicy(trx, { approvalId, decision: outcome === 'allow' ? 'approved' : 'rejected', policies, correlationId })
}

/** Writes down a review and tells about it; `commentIds` are those that were sent with it. */
export async function recordReview(trx: Trx, change: Pick<ChangeRow, 'id' | 'project_id' | 'ticket_id'>, row: ReviewRow, commentIds: readonly string[], more: Record<string, unknown> = {}): Promise<void> {
  await insertReview(trx, row)
  await appendEvents(trx, [{
    type: 'change:reviewed', projectId: change.project_id, subject: { kind: 'change', id: change.id }, correlationId: row.correlation_id,
    data: {
      ticketId: change.ticket_id, reviewId: row.id, reviewer: row.reviewer, kind: row.kind, verdict: row.verdict, counts: row.counts === 1, headSha: row.head_sha, approvalId: row.approval_id, score: row.score, commentIds, ...more,
    },
  }])
}

/** What reviewers may say about a change as a whole, and what the changes feature is handed (ports.ts). */
export function createReviewService(deps: ReviewDependencies, comments: Comments) {
  const personal = (change: ChangeRow | { id: string; project_id: string }, given: { approvalId: string | null; headSha: string; reviewer: string; verdict: Verdict; counts: boolean; summary: string; correlationId: string }): ReviewRow => ({
    id: deps.makeId('review'), change_id: change.id, project_id: change.project_id, approval_id: given.approvalId, head_sha: given.headSha, reviewer: given.reviewer, kind: 'person', verdict: given.verdict,
    counts: given.counts ? 1 : 0, summary: given.summary, score: null, reasons: '[]', returned: 0, correlation_id: given.correlationId, created_at: deps.now(),
  })
  /** @throws reviewer_is_author */
  const refuseAuthor = async (trx: Trx, change: { id: string; project_id: string }, reviewer: string): Promise<void> => {
    if (!(await deps.ruleOf(trx, change.project_id)).notAuthor) return
    if ((await authorOf(trx, change.id))?.replace(YES_FLAG, '') === reviewer) throw new DomainError('reviewer_is_author', { reviewer, changeId: change.id })
  }

  /** The review that was sent with the decision that stands, when it is this very one (its answer was lost). @throws already_decided when somebody else was first */
  const decidedBefore = async (trx: Trx, change: ChangeRow, input: { headSha: string; verdict: Verdict; summary: string; reviewer: string }): Promise<ReviewRow | null> => {
    const decided = (await mergeApprovals(trx, change.id)).find((row) => MergePayload.parse(JSON.parse(row.payload)).headSha === input.headSha && row.status !== 'pending' && row.status !== 'cancelled')
    if (!decided || VERDICTS[input.verdict].decision === null) return null
    const last = await lastReviewBy(trx, { changeId: change.id, headSha: input.headSha, approvalId: decided.id, reviewer: input.reviewer })
    if (last?.verdict === input.verdict && last.summary === input.summary && await draftCount(trx, change.id, input.reviewer) === 0) return last
    throw new DomainError('already_decided', { kind: 'approval', id: decided.id, by: decided.decided_by ?? 'someone else', decision: decided.status })
  }

  const commands: ReviewCommands = {
    async offer(trx, { projectId, payload, correlationId }) {
      const rule = await deps.ruleOf(trx, projectId)
      if (rule.agent === 'off') return await requestMerge(trx, deps, { projectId, payload, correlationId })
      await putAgentReview(trx, {
        change_id: payload.changeId, head_sha: payload.headSha, project_id: projectId, state: 'pending', payload: JSON.stringify(payload), tries: 0, retry_at: null, waits_approval_id: null, failure: null,
        owner: null, lease_expires_at: null, correlation_id: correlationId, created_at: deps.now(),
      })
      signal(trx, 'work')
    },

    async offerAgain(trx, { changeId, headSha, projectId, correlationId }) {
      const payload = (await mergeApprovals(trx, changeId)).map((row) => MergePayload.parse(JSON.parse(row.payload))).find((each) => each.headSha === headSha)
      if (payload) {
        await requestMerge(trx, deps, { projectId, payload, correlationId })
        return true
      }
      // People were not asked yet: the agent reviewer goes on as soon as the ticket is in review again.
      return (await agentReviewOf(trx, changeId, headSha))?.state === 'pending'
    },

    async heard(trx, word) {
      const payload = MergePayload.parse(word.payload)
      const change = { id: payload.changeId, project_id: word.projectId, ticket_id: payload.ticketId }
      const reviewer = word.decidedBy.replace(YES_FLAG, '')
      const verdict = verdictOf(word.decision)
      if (verdict === 'approve') await refuseAuthor(trx, change, reviewer)
      const last = await lastReviewBy(trx, { changeId: change.id, headSha: payload.headSha, approvalId: word.id, reviewer })
      if (last?.verdict !== verdict || (verdict === 'approve' && last.counts === 0)) {
        await recordReview(trx, change, personal(change, { approvalId: word.id, headSha: payload.headSha, reviewer, verdict, counts: verdict === 'approve', summary: word.reason, correlationId: word.correlationId }), [])
      }
      if (verdict !== 'approve') return true
      return (await approversOf(trx, word.id)).length >= (await deps.ruleOf(trx, word.projectId)).people
    },

    batch: comments.batch,
  }

  return {
    commands,

    /**
     * Sends a review with all drafts of its reviewer in one unit, and decides where its verdict does.
     * @throws not_found, review_not_open, review_outdated, payload_changed, already_decided, reviewer_is_author, invalid_input, and those of the merge
     */
    async submit(trx: Trx, input: { changeId: string; headSha: string; verdict: Verdict; summary: string; payloadHash: string | undefined; reviewer: string; mayMerge: boolean; correlationId: string }): Promise<ReviewRow> {
      const { reviewer, verdict, summary, correlationId } = input
      const change = await requireChange(trx, input.changeId)
      const approval = await lockedMergeApproval(trx, change.id)
      // Read after the lock: whoever published meanwhile has voided what was asked.
      const current = await requireChange(trx, change.id)
      const { decision } = VERDICTS[verdict]
      if (current.head_sha === input.headSha && (!approval || current.state !== 'open')) {
        const again = await decidedBefore(trx, current, input)
        if (again) return again
      }
      requireHead(current, input.headSha)
      if (decision !== null && !approval) throw new DomainError('review_not_open', { changeId: change.id, state: 'its agent reviewer is still at work, or its ticket is held' })
      if (verdict === 'approve' && approval?.payload_hash !== input.payloadHash) throw new DomainError('payload_changed', { id: approval?.id ?? change.id })
      if (verdict === 'approve') await refuseAuthor(trx, change, reviewer)
      const drafts = await draftCount(trx, change.id, reviewer)
      const last = await lastReviewBy(trx, { changeId: change.id, headSha: input.headSha, approvalId: approval?.id ?? null, reviewer })
      const repeated = drafts === 0 && last?.verdict === verdict && last.summary === summary && last.counts === (verdict === 'approve' && input.mayMerge ? 1 : 0)
      if (!repeated && verdict !== 'approve' && drafts === 0 && summary === '') throw new DomainError('invalid_input', { problem: `a review with the verdict ${verdict} says something: a summary, or comments`, field: 'summary' })
      const review = repeated && last ? last : personal(change, { approvalId: approval?.id ?? null, headSha: input.headSha, reviewer, verdict, counts: verdict === 'approve' && input.mayMerge, summary, correlationId })
      const sent = repeated ? [] : await sendDrafts(trx, { changeId: change.id, author: reviewer, reviewId: review.id, at: deps.now() })
      if (!repeated) await recordReview(trx, change, review, sent)
      // Whoever may not decide merges is heard, and decides nothing.
      if (decision !== null && approval && input.mayMerge && (verdict !== 'approve' || review.counts === 1)) {
        await deps.approvals.decide(trx, { approvalId: approval.id, decision, payloadHash: approval.payload_hash, reason: summary.slice(0, MAX_REASON), decidedBy: reviewer, byYesFlag: false, correlationId })
      }
      return review
    },

    /** How the approval of a change stands now. */
    async standing(read: Db, changeId: string): Promise<ReviewStanding> {
      const change = await changeById(read, changeId)
      if (!change) throw new DomainError('not_found', { kind: 'change', id: changeId })
      const latest = (await mergeApprovals(read, change.id))[0]
      const open = latest?.status === 'pending' ? latest : undefined
      const agent = await agentReviewOf(read, change.id, change.head_sha)
      return {
        approval: open ? { id: open.id, payloadHash: open.payload_hash } : null,
        needed: (await deps.ruleOf(read, change.project_id)).people, approvedBy: latest ? await approversOf(read, latest.id) : [],
        agent: agent ? { state: agent.state as 'pending' | 'done', tries: agent.tries, waitsFor: agent.state === 'pending' ? agent.failure : null } : null,
      }
    },
  }
}
