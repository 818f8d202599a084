import { DomainError } from '@swarm/core/errors.ts'
import { refusedEdit, type TicketEdit } from '@swarm/core/tickets/board.ts'
import type { TicketState } from '@swarm/core/tickets/machine.ts'
import type { FastifyRequest } from 'fastify'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { requireMatch } from '../../http/etag.ts'
import { lockTicket, patchTicket, type TicketRow } from './queries.ts'

/** What people edit of a ticket: its entity tag is made of this. */
export const editable = ({ id, title, description, priority }: TicketRow): Record<TicketEdit | 'id', unknown> => ({ id, title, description, priority })

/**
 * Changes what people may change of a ticket in its state. Its row is locked first: no runner takes it between the look and the
 * change. What an attempt was given stays as it was.
 * @throws DomainError not_found, changed_meanwhile, ticket_not_editable
 */
export async function editTicket(trx: Trx, input: {
  ticketId: string; patch: { priority?: number | undefined; title?: string | undefined; description?: string | undefined }; request: Pick<FastifyRequest, 'headers'>; by: string; now: number; correlationId: string
}): Promise<TicketRow> {
  const ticket = await lockTicket(trx, input.ticketId)
  if (!ticket) throw new DomainError('not_found', { kind: 'ticket', id: input.ticketId })
  requireMatch(input.request, { kind: 'ticket', id: ticket.id }, editable(ticket))
  const before = editable(ticket)
  const changes = Object.fromEntries(Object.entries(input.patch).filter(([field, value]) => value !== undefined && value !== before[field as TicketEdit])) as typeof input.patch
  const fields = Object.keys(changes) as TicketEdit[]
  if (fields.length === 0) return ticket
  const refused = refusedEdit(ticket.state as TicketState, fields)
  if (refused !== null) throw new DomainError('ticket_not_editable', { id: ticket.id, state: ticket.state, field: refused })
  // In review the time since which it waits there says how long others wait for its files.
  const patch = { ...changes, ...(ticket.state === 'in_review' ? {} : { updated_at: input.now }) }
  await patchTicket(trx, ticket.id, patch)
  await appendEvents(trx, [{
    type: 'ticket:edited', projectId: ticket.project_id, subject: { kind: 'ticket', id: ticket.id }, correlationId: input.correlationId,
    data: { sessionId: ticket.session_id, by: input.by, fields, ...(changes.priority === undefined ? {} : { priority: changes.priority, before: ticket.priority }) },
  }])
  return { ...ticket, ...patch } as TicketRow
}
