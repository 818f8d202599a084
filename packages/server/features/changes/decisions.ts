import { MergePayload } from '@swarm/contract/endpoints/changes.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { signal } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { DecisionReaction } from '../../ports.ts'
import type { ChangeDependencies } from './dependencies.ts'
import { queueEntry } from './merge-entries.ts'
import { entryOf } from './merge-queries.ts'
import { changeById, LIVE_ENTRY_STATES } from './queries.ts'
import { evidence } from './verification.ts'

/**
 * What a decision about a merge sets going, in its own transaction. The action that it authorises is the place in the queue: the
 * approval is used with the decision, since at the merge it would be too late to refuse (main has moved by then).
 */
export function mergeDecisions(deps: ChangeDependencies): DecisionReaction {
  return {
    heard: deps.reviews.heard,
    async approved(trx, approval) {
      const payload = MergePayload.parse(approval.payload)
      const change = await changeById(trx, payload.changeId)
      if (!change || change.state !== 'open' || change.head_sha !== payload.headSha) {
        throw new DomainError('change_not_open', { changeId: payload.changeId, state: change?.state ?? 'gone', headSha: change?.head_sha ?? 'none' })
      }
      // What the queue still has of an earlier head leaves it first: the batch that it is in knows it by its entry.
      const earlier = await entryOf(trx, change.id)
      if (earlier && (LIVE_ENTRY_STATES as readonly string[]).includes(earlier.state)) throw new DomainError('change_not_open', { changeId: change.id, state: 'still in the merge queue', headSha: earlier.head_sha })
      const now = deps.now()
      await deps.tickets.enterMerge(trx, { ticketId: change.ticket_id, correlationId: approval.correlationId })
      await queueEntry(trx, {
        change_id: change.id, repository_id: change.repository_id, ticket_id: change.ticket_id, head_sha: change.head_sha, state: 'queued', batch_id: null,
        base_sha: null, candidate_sha: null, check_id: null, losses: 0, approval_id: approval.id, reason: null, created_at: now, updated_at: now,
      }, approval.correlationId)
      await appendEvents(trx, [{
        type: 'change:queued', projectId: change.project_id, subject: { kind: 'change', id: change.id }, correlationId: approval.correlationId,
        data: { ticketId: change.ticket_id, headSha: change.head_sha, approvalId: approval.id },
      }])
      signal(trx, 'work')
    },
    async rejected(trx, approval) {
      const payload = MergePayload.parse(approval.payload)
      const reason = approval.reason === '' ? `${approval.status === 'rejected' ? 'rejected' : 'revision asked for'} by ${approval.decidedBy}` : approval.reason
      const { ticketId } = payload
      // Core/review/verdicts.ts: what is rejected waits for a person, what is to be changed goes back to the agent with every comment.
      if (approval.status === 'rejected') await deps.tickets.rejected(trx, { ticketId, reason: `its change was rejected: ${reason}`, correlationId: approval.correlationId })
      else {
        const comments = await deps.reviews.batch(trx, payload.changeId)
        await deps.tickets.returned(trx, { ticketId, failureClass: 'policy', reason, evidence: { ...evidence('policy', reason, {}), comments }, correlationId: approval.correlationId })
      }
      signal(trx, 'work')
    },
    async expired(trx, approval) {
      const { ticketId } = MergePayload.parse(approval.payload)
      await deps.tickets.rejected(trx, { ticketId, reason: `nobody decided about its merge within ${Math.round(approval.waitedMs / 3_600_000)} hours: a retry asks again`, correlationId: approval.correlationId })
      signal(trx, 'work')
    },
  }
}
