import { holdTicket } from '@swarm/contract/endpoints/tickets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const ticketHold = command({
  name: 'ticket hold',
  summary: 'Holds a ticket; running work is stopped and kept',
  examples: [['swarm ticket hold TKT-7Q2M9XKD --reason "waits for the design"', 'until somebody retries it']],
  arguments: [{ name: 'id', description: 'the ticket' }],
  options: [{ flags: '--reason <text>', description: 'why; recorded with the ticket' }],
  input: z.object({ id: z.string(), reason: z.string().trim().min(1).max(500).default('asked for on the command line') }),
  async run({ id, reason }, { settings, signal }) {
    const ticket = await connect(settings().config).client.call(holdTicket, { params: { ticketId: id }, body: { reason } }, { signal })
    return { json: ticket, text: `${ticket.id} is ${ticket.state} now` }
  },
})
