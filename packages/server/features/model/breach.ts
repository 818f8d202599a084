import { DomainError } from '@swarm/core/errors.ts'
import { z } from 'zod'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { ApprovalCommands, DecisionReaction } from '../../ports.ts'
import type { OnBreach } from './ledger.ts'
import { raiseCeiling } from './queries.ts'

/** What a person is shown about a ceiling that was met; the same ceiling makes the same payload, so it is asked once. */
const BreachPayload = z.object({ ceiling: z.enum(['session', 'project']), id: z.string(), capMicroUsd: z.number().int(), proposedCapMicroUsd: z.number().int() })

/** Asks for an approval of kind budget_breach, in the transaction of the refusal. */
export function askOnBreach(approvals: Pick<ApprovalCommands, 'request'>): OnBreach {
  return async (trx, { ceiling, subject }) => {
    const payload: z.infer<typeof BreachPayload> = { ceiling: ceiling.kind, id: ceiling.id, capMicroUsd: ceiling.capMicroUsd, proposedCapMicroUsd: ceiling.capMicroUsd * 2 }
    await approvals.request(trx, { kind: 'budget_breach', projectId: subject.projectId, subject: { kind: ceiling.kind, id: ceiling.id }, requester: 'model gateway', payload, correlationId: subject.correlationId })
  }
}

/** What stood still for want of money, as its features set it going again in the transaction of the decision. */
export interface StoppedByBudget {
  resumeTickets(trx: Trx, input: { sessionId: string; failureClass: 'budget'; reason: string; correlationId: string }): Promise<unknown>
  resumeDesign(trx: Trx, input: { sessionId: string; failedWith: 'budget_exhausted'; correlationId: string }): Promise<unknown>
}

/** Approved: the session's ceiling becomes the proposed one, if it still is the one that was shown, and what stopped at it goes on. Rejected: it stays. */
export const breachDecided = (stopped: StoppedByBudget): DecisionReaction => ({
  async approved(trx, approval) {
    const payload = BreachPayload.parse(approval.payload)
    // A project's ceiling is a setting, which its administrator changes where the others are.
    if (payload.ceiling !== 'session') throw new DomainError('invalid_input', { field: 'maxCostMicroUsd', problem: 'the ceiling of a project is raised in its settings' })
    if (!await raiseCeiling(trx, payload.id, payload.capMicroUsd, payload.proposedCapMicroUsd)) throw new DomainError('illegal_transition', { kind: 'budget of session', id: payload.id, from: 'changed', to: String(payload.proposedCapMicroUsd) })
    await appendEvents(trx, [{ type: 'budget:raised', projectId: approval.projectId, subject: { kind: 'session', id: payload.id }, data: { sessionId: payload.id, fromMicroUsd: payload.capMicroUsd, toMicroUsd: payload.proposedCapMicroUsd, by: approval.decidedBy }, correlationId: approval.correlationId }])
    const about = { sessionId: payload.id, correlationId: approval.correlationId }
    await stopped.resumeTickets(trx, { ...about, failureClass: 'budget', reason: 'the budget was raised' })
    await stopped.resumeDesign(trx, { ...about, failedWith: 'budget_exhausted' })
  },
  async rejected() {
    // Nothing was changed for it: the tickets that met the ceiling stay on hold.
  },
})
