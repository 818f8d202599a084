import { DomainError } from '@swarm/core/errors.ts'
import { CLAIMABLE, mayBecome } from '@swarm/core/tickets/machine.ts'
import type { TicketState } from '@swarm/core/tickets/machine.ts'
import type { Updateable } from 'kysely'
import type { TicketsTable } from '../../db/schema.ts'
import { signal } from '../../db/unit.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { moveTicketRow, releaseDependents } from './queries.ts'
import type { TicketRow } from './queries.ts'

/**
 * The only writer of a ticket's state: table, compare-and-set and event in one transaction.
 * @throws illegal_transition when the table does not have it, or another writer was faster
 */
export async function moveTicket(trx: Trx, ticket: TicketRow, to: TicketState, input: {
  patch?: Updateable<TicketsTable>; reason?: string; correlationId: string; now: number; attemptId?: string
}): Promise<TicketRow> {
  const from = ticket.state as TicketState
  const refused = (): DomainError => new DomainError('illegal_transition', { kind: 'ticket', id: ticket.id, from, to })
  if (!mayBecome(from, to)) throw refused()
  const patch: Updateable<TicketsTable> = {
    ...input.patch, updated_at: input.now,
    hold_reason: to === 'on_hold' ? (input.reason ?? 'held') : null,
    ...((CLAIMABLE as readonly string[]).includes(to) ? { ready_at: input.now } : {}),
  }
  if (!await moveTicketRow(trx, ticket.id, from, to, patch)) throw refused()
  // Only a merge releases them: a failed or cancelled parent never does.
  if (to === 'done') await releaseDependents(trx, ticket.id, input.now)
  await appendEvents(trx, [{
    type: 'ticket:update', projectId: ticket.project_id, subject: { kind: 'ticket', id: ticket.id }, correlationId: input.correlationId,
    data: { key: ticket.key, title: ticket.title, sessionId: ticket.session_id, from, to, reason: input.reason ?? null, attemptId: input.attemptId ?? null, fence: patch.fence ?? ticket.fence, retryAt: patch.retry_at ?? null },
  }])
  // Any move may free capacity, files or a dependent: whoever waits for work looks again.
  signal(trx, 'work')
  return { ...ticket, ...patch, state: to } as TicketRow
}
