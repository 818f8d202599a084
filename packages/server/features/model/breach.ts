import { BUDGET_UNITS, CEILING_KINDS, proposedCap, type Ceiling } from '@swarm/core/budgets/reserve.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Schema } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { ApprovalCommands, DecisionReaction } from '../../ports.ts'
import { capsOf, keyOf, type Account } from './ceilings.ts'
import type { OnBreach } from './ledger.ts'
import { attemptForCall, lastCallOf, placeOf, putCeiling, raiseSession, stoppedAt, storedCeilings } from './queries.ts'

/** What a person is shown about a ceiling that was met; the same ceiling makes the same payload, so it is asked once. */
const BreachPayload = z.object({
  ceiling: z.enum(CEILING_KINDS), id: z.string(), unit: z.enum(BUDGET_UNITS), cap: z.number().int(), proposedCap: z.number().int(),
  ticketId: z.string().nullable(),
  /** What the two decisions mean. */
  approve: z.literal('raise and resume'), reject: z.literal('keep paused'),
})
export type BreachPayload = z.infer<typeof BreachPayload>

/** Asks for an approval of kind budget_breach, in the transaction of the refusal. */
export function askOnBreach(approvals: Pick<ApprovalCommands, 'request'>): OnBreach {
  return async (trx, { ceiling, needed, subject }) => {
    const { kind, id, unit, cap } = ceiling
    const ticketId = kind === 'attempt' || kind === 'ticket' ? subject.ticketId : null
    const payload: BreachPayload = { ceiling: kind, id, unit, cap, proposedCap: proposedCap(ceiling, needed), ticketId, approve: 'raise and resume', reject: 'keep paused' }
    return await approvals.request(trx, { kind: 'budget_breach', projectId: subject.projectId, subject: { kind, id }, requester: 'model gateway', payload, correlationId: subject.correlationId })
  }
}

/** What stood still for want of money, as its features set it going again in the transaction of the decision. */
export interface StoppedByBudget {
  resumeTickets(trx: Trx, input: { attemptIds: readonly string[]; failureClass: 'budget'; reason: string; correlationId: string }): Promise<unknown>
  resumeDesign(trx: Trx, input: { sessionId: string; failedWith: 'budget_exhausted'; correlationId: string }): Promise<unknown>
  /** Changes the money or token ceiling of a project's settings. */
  setProject(trx: Trx, input: { projectId: string; patch: { maxCostMicroUsd?: number | null; maxTokens?: number | null }; correlationId: string }): Promise<unknown>
}

/** Sets going whatever this ceiling refused a call to, and nothing else. */
export async function resumeStopped(trx: Trx, stopped: StoppedByBudget, ceiling: Pick<Ceiling, 'kind' | 'id' | 'unit'>, correlationId: string): Promise<void> {
  const { attemptIds, sessionIds } = await stoppedAt(trx, keyOf(ceiling))
  await stopped.resumeTickets(trx, { attemptIds, failureClass: 'budget', reason: 'the budget was raised', correlationId })
  for (const sessionId of sessionIds) await stopped.resumeDesign(trx, { sessionId, failedWith: 'budget_exhausted', correlationId })
}

/** Approved: the ceiling becomes the proposed one, if it still is the one that was shown, and what stopped at it goes on. Rejected: it stays. */
export const breachDecided = (stopped: StoppedByBudget): DecisionReaction => ({
  async approved(trx, approval) {
    const { ceiling: kind, id, unit, cap, proposedCap: to, ticketId } = BreachPayload.parse(approval.payload)
    const { projectId, correlationId } = approval
    const account = await accountOf(trx, { kind, id, projectId, correlationId })
    // Under the locks of session and project, which every writer of a ceiling takes.
    const now = (await capsOf(trx, account)).find((each) => each.kind === kind && each.id === id && each.unit === unit)
    const changed = (): DomainError => new DomainError('illegal_transition', { kind: `budget of ${kind}`, id, from: 'changed', to: String(to) })
    if (now?.cap !== cap) throw changed()
    if (kind === 'project') await stopped.setProject(trx, { projectId, patch: unit === 'tokens' ? { maxTokens: to } : { maxCostMicroUsd: to }, correlationId })
    else if (kind === 'session' && unit === 'micro_usd') {
      if (!await raiseSession(trx, id, cap, to)) throw changed()
    } else await putCeiling(trx, { kind, id, unit, cap: to, now: Date.now() })
    // The attempt that stopped is over: its successors may use as much.
    if (kind === 'attempt' && ticketId !== null) {
      const before = (await storedCeilings(trx, [{ kind: 'ticket_attempts', id: ticketId }])).find((each) => each.unit === unit)
      await putCeiling(trx, { kind: 'ticket_attempts', id: ticketId, unit, cap: Math.max(before?.cap ?? 0, to), now: Date.now() })
    }
    await appendEvents(trx, [{
      type: 'budget:raised', projectId, subject: { kind, id }, correlationId,
      data: { ceiling: kind, ceilingId: id, unit, from: cap, to, by: approval.decidedBy, approvalId: approval.id, ticketId: ticketId ?? account.ticketId, sessionId: kind === 'session' ? id : null },
    }])
    await resumeStopped(trx, stopped, { kind, id, unit }, correlationId)
  },
  async rejected() {
    // Nothing was changed for it: what met the ceiling stays where it is until a person retries it, which asks again.
  },
})

/** The account whose caps hold this ceiling. @throws DomainError not_found */
export async function accountOf(trx: Trx, ceiling: { kind: Ceiling['kind']; id: string; projectId: string; correlationId: string }): Promise<Account> {
  const { kind, id, projectId, correlationId } = ceiling
  const account: Account = { projectId, sessionId: null, ticketId: null, attemptId: null, correlationId }
  if (kind === 'project') return account
  if (kind === 'attempt') {
    const attempt = await attemptForCall(trx, id)
    if (!attempt) throw new DomainError('not_found', { kind, id })
    return { ...account, attemptId: id, ticketId: attempt.ticket_id }
  }
  if (await placeOf(trx, kind, id) === undefined) throw new DomainError('not_found', { kind, id })
  return kind === 'session' ? { ...account, sessionId: id } : { ...account, ticketId: id }
}

/** What the last call of an attempt says about its end: the ceiling that it met, in words for the person who decides. */
export async function whyBudget(db: Kysely<Schema>, attemptId: string): Promise<string | null> {
  const call = await lastCallOf(db, attemptId)
  if (call?.state !== 'refused' || call.ceiling === null) return null
  const [kind, id, unit] = call.ceiling.split('/')
  const decide = call.approval_id === null ? '' : `: decide on ${call.approval_id} (approve: raise and resume; reject: keep paused)`
  return `the ${unit === 'tokens' ? 'token' : 'money'} ceiling of ${kind ?? ''} ${id ?? ''} is used up${decide}`
}
