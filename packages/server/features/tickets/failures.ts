import type { AttemptEvidence } from '@swarm/contract/agent-protocol.ts'
import type { FailureClass } from '@swarm/contract/runner-protocol.ts'
import { afterFailure, afterOverload } from '@swarm/core/tickets/retries.ts'
import type { TicketState } from '@swarm/core/tickets/machine.ts'
import type { Updateable } from 'kysely'
import type { TicketsTable } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import type { TicketRow } from './queries.ts'
import { moveTicket } from './transition.ts'

/** Evidence of this many failures is handed to the next attempt; older ones stay in the history. */
const EVIDENCE_KEPT = 4

const OVERLOADED = 'the model API is overloaded'

/** Failures since the last redrive; `overload`: how often in a row the model API was overloaded, until now. */
export type FailureCounts = Partial<Record<FailureClass | 'overload', number>>

/** The ticket's evidence with one more, oldest first. A batch of review comments holds all that are open: those before it are no longer needed. */
export function withEvidence(ticket: TicketRow, evidence: AttemptEvidence): string {
  const kept = JSON.parse(ticket.evidence) as AttemptEvidence[]
  const earlier = evidence.comments === undefined ? kept : kept.map(({ comments: _, ...each }) => each)
  return JSON.stringify([...earlier, evidence].slice(-EVIDENCE_KEPT))
}

/**
 * Sends a ticket whose attempt failed back to work, later or at once, or holds it for a person, by the rule of its class.
 * `to` is where it waits for the next attempt: ready, or changes_requested when it comes back from review or merge.
 */
export async function afterFailedAttempt(trx: Trx, ticket: TicketRow, input: {
  failureClass: FailureClass; reason: string; evidence: AttemptEvidence; to: Extract<TicketState, 'ready' | 'changes_requested'>
  patch: Updateable<TicketsTable>; correlationId: string; now: number; random: number; attemptId: string
  /** The attempt met an overload of the model API, which may be asked again in so many ms. */
  overload?: { untilAskedMs: number } | undefined
  /** What a person is told instead, when the ticket is held. */
  holdReason?: string | undefined
}): Promise<void> {
  const { overload: overloads = 0, ...counts } = JSON.parse(ticket.failure_counts) as FailureCounts
  if (input.overload) {
    const delayMs = afterOverload(overloads + 1, input.overload.untilAskedMs, input.random)
    await moveTicket(trx, ticket, input.to, {
      // No evidence either: the next attempt could not have done better.
      patch: { ...input.patch, failure_counts: JSON.stringify({ ...counts, overload: overloads + 1 }), retry_at: input.now + delayMs },
      reason: OVERLOADED, correlationId: input.correlationId, now: input.now, attemptId: input.attemptId,
    })
    return
  }
  counts[input.failureClass] = (counts[input.failureClass] ?? 0) + 1
  const decision = afterFailure(input.failureClass, counts, input.random)
  const patch: Updateable<TicketsTable> = {
    ...input.patch, failure_counts: JSON.stringify(counts), evidence: withEvidence(ticket, input.evidence),
    retry_at: decision.kind === 'retry' && decision.delayMs > 0 ? input.now + decision.delayMs : null,
  }
  const reason = `${input.failureClass}: ${input.reason}`
  if (decision.kind === 'retry') {
    await moveTicket(trx, ticket, input.to, { patch, reason, correlationId: input.correlationId, now: input.now, attemptId: input.attemptId })
  } else {
    await moveTicket(trx, ticket, 'on_hold', { patch, reason: input.holdReason ?? `${decision.reason}; last: ${input.reason}`, correlationId: input.correlationId, now: input.now, attemptId: input.attemptId })
  }
}
