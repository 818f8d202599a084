import { CLAIMABLE } from '@swarm/core/tickets/machine.ts'
import type { Trx } from '../../db/unit.ts'
import { continueFrom } from './attempt-source.ts'
import { moveAttempt, requireTicket } from './commands.ts'
import type { TicketDependencies } from './commands.ts'
import { attemptInState, attemptsOf } from './queries.ts'
import type { TicketRow } from './queries.ts'
import { openQuestionOf } from './questions.ts'
import { moveTicket } from './transition.ts'

/** Offered by the changes feature: asks again for the merge of exactly this head. False when there is no open change with it. */
export type OfferAgain = (trx: Trx, input: { ticketId: string; headSha: string; correlationId: string }) => Promise<boolean>

/**
 * Sends a held or failed ticket back to work and forgives what it failed so far (the history stays). One that was held in
 * review or on its way to main has its work done: the same head is offered again.
 */
export async function retryTicket(trx: Trx, deps: TicketDependencies, input: { ticketId: string; offerAgain: OfferAgain; correlationId: string }): Promise<TicketRow> {
  const ticket = await requireTicket(trx, input.ticketId)
  const { correlationId } = input
  const last = (await attemptsOf(trx, ticket.id)).at(-1)
  // A new start is noted when somebody sent it back for changes: then its head is not what is wanted.
  const headSha = last?.state === 'succeeded' && ticket.state === 'on_hold' && ticket.next_start_sha === null ? last.head_sha : null
  if (headSha !== null && await input.offerAgain(trx, { ticketId: ticket.id, headSha, correlationId })) {
    return moveTicket(trx, ticket, 'in_review', { patch: { failure_counts: '{}', retry_at: null }, reason: 'offered again by a person', correlationId, now: deps.now(), attemptId: last!.id })
  }
  const parked = last?.state === 'parked' ? last : undefined
  // Whoever retries instead of answering has decided that the question is moot; an attempt that has its answer goes on.
  const moot = parked !== undefined && await openQuestionOf(trx, parked.id) !== undefined
  if (moot) await moveAttempt(trx, parked, 'cancelled', { ended_at: deps.now(), failure_reason: 'retried without an answer' })
  return moveTicket(trx, ticket, 'ready', { patch: { failure_counts: '{}', retry_at: null, ...(moot ? continueFrom(parked, parked.wip_sha) : {}) }, reason: 'retried by a person', correlationId, now: deps.now() })
}

/** Stops work on a ticket. A running attempt is told to save its work; its runner gives it back. */
export async function stopTicket(trx: Trx, deps: TicketDependencies, input: { ticketId: string; to: 'on_hold' | 'cancelled'; reason: string; correlationId: string }): Promise<TicketRow> {
  const ticket = await requireTicket(trx, input.ticketId)
  const now = deps.now()
  const moved = await moveTicket(trx, ticket, input.to, { reason: input.reason, correlationId: input.correlationId, now })
  if (!(CLAIMABLE as readonly string[]).includes(ticket.state)) {
    await trx.updateTable('attempts').set({ stop_code: 'stopped', stop_reason: input.reason }).where('ticket_id', '=', ticket.id).where('state', '=', 'running').execute()
    for (const state of ['gating', 'verifying'] as const) {
      const attempt = await attemptInState(trx, ticket.id, state)
      if (!attempt) continue
      await moveAttempt(trx, attempt, 'cancelled', { ended_at: now, failure_reason: input.reason })
      await trx.updateTable('tickets').set({ next_base_sha: attempt.base_sha, next_start_sha: attempt.head_sha }).where('id', '=', ticket.id).execute()
    }
  }
  if (input.to === 'cancelled') {
    const parked = await attemptInState(trx, ticket.id, 'parked')
    if (parked) await moveAttempt(trx, parked, 'cancelled', { ended_at: now, failure_reason: input.reason })
  }
  return moved
}
