import { retryTicket } from '@swarm/contract/endpoints/tickets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const ticketRetry = command({
  name: 'ticket retry',
  summary: 'Sends a held or failed ticket back to work',
  examples: [['swarm ticket retry TKT-7Q2M9XKD', 'its history stays, and its failures are forgiven']],
  arguments: [{ name: 'id', description: 'the ticket' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const ticket = await connect(settings().config).client.call(retryTicket, { params: { ticketId: id } }, { signal })
    return { json: ticket, text: `${ticket.id} is ${ticket.state} now` }
  },
})
