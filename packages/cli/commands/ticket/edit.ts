import { updateTicket } from '@swarm/contract/endpoints/tickets.ts'
import { z } from 'zod'
import { userPath } from '../../config.ts'
import { command } from '../../command.ts'
import { UserError } from '../../errors.ts'
import { connect } from '../../platform/connect.ts'
import { readableFile } from '../../run/inputs.ts'

export const ticketEdit = command({
  name: 'ticket edit',
  summary: 'Changes the priority of a ticket, or its text before work on it begins',
  examples: [['swarm ticket edit TKT-7Q2M9XKD --priority 50', 'it is taken before others of its project'], ['swarm ticket edit TKT-7Q2M9XKD --title "Score a frame" --description frame.md', 'while it is a draft or ready']],
  arguments: [{ name: 'id', description: 'the ticket' }],
  options: [{ flags: '--priority <number>', description: 'from -100 to 100; the highest is taken first' }, { flags: '--title <text>', description: 'its new title' }, { flags: '--description <file>', description: 'a file with its new description' }],
  input: z.object({ id: z.string(), priority: z.coerce.number('give a number').int().min(-100).max(100).optional(), title: z.string().optional(), description: z.string().optional() }),
  async run({ id, priority, title, description }, { settings, signal }) {
    const body = {
      ...(priority === undefined ? {} : { priority }), ...(title === undefined ? {} : { title }), ...(description === undefined ? {} : { description: await readableFile(userPath(description), 'The description') }),
    }
    if (Object.keys(body).length === 0) throw new UserError('misuse', 'Nothing is to be changed.', 'Give --priority, --title or --description.')
    const ticket = await connect(settings().config).client.call(updateTicket, { params: { ticketId: id }, body }, { signal })
    return { json: ticket, text: `${ticket.id}  ${ticket.title}  priority ${ticket.priority}` }
  },
})
