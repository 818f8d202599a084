import { showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { ticketCan, type TicketState } from '@swarm/core/tickets/machine.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const ticketWhy = command({
  name: 'ticket why',
  summary: 'Says why a ticket does not move, and what can be done',
  examples: [['swarm ticket why TKT-7Q2M9XKD', 'one paragraph']],
  arguments: [{ name: 'id', description: 'the ticket' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const ticket = await connect(settings().config).client.call(showTicket, { params: { ticketId: id } }, { signal })
    const state = ticket.state as TicketState
    const can = (['retry', 'hold', 'cancel'] as const).filter((action) => ticketCan[action](state))
    const last = ticket.history.findLast((attempt) => attempt.failureReason !== null)
    const text = [
      `${ticket.id} (${ticket.title}) is ${ticket.state}${ticket.waitsFor === null ? ' and moves' : `: it waits for ${ticket.waitsFor}`}.`,
      ...(last ? [`Attempt ${last.number} ended with ${last.failureClass ?? 'a failure'}: ${last.failureReason ?? ''}.`] : []),
      ...(can.length === 0 ? [] : [`You can: ${can.map((action) => `swarm ticket ${action} ${ticket.id}`).join(' · ')}`]),
    ]
    return { json: { id: ticket.id, state: ticket.state, waitsFor: ticket.waitsFor, holdReason: ticket.holdReason, lastFailure: last ? { number: last.number, class: last.failureClass, reason: last.failureReason } : null, can }, text: text.join(' ') }
  },
})
