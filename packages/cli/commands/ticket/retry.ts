import { retryTicket, retryTickets, RedriveFilter } from '@swarm/contract/endpoints/tickets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

const { failureClass, state } = RedriveFilter.shape

export const ticketRetry = command({
  name: 'ticket retry',
  summary: 'Sends a held or failed ticket, or all that match, back to work',
  examples: [
    ['swarm ticket retry TKT-7Q2M9XKD', 'its history stays, and its failures are forgiven'],
    ['swarm ticket retry --all --class infrastructure', 'after a fault of the machine was mended'],
  ],
  arguments: [{ name: 'id', description: 'the ticket', optional: true }],
  options: [
    { flags: '--all', description: 'all that are on hold or failed, narrowed by the options below' },
    { flags: '--project <id>', description: 'only those of this project' }, { flags: '--session <id>', description: 'only those of this design session' },
    { flags: '--class <class>', description: `only those whose last attempt failed so: ${failureClass.unwrap().options.join(', ')}` }, { flags: '--state <state>', description: 'only those in this state: on_hold or failed' },
    { flags: '--waiting', description: 'also those that wait for an answer or for a decision about budget' },
  ],
  input: z.object({ id: z.string().optional(), all: z.boolean().default(false), project: z.string().optional(), session: z.string().optional(), class: failureClass, state, waiting: z.boolean().default(false) })
    .refine(({ id, all }) => (id === undefined) === all, 'give a ticket, or --all')
    .refine(({ all, project, session, class: failed, state: only, waiting }) => all || (project ?? session ?? failed ?? only) === undefined && !waiting, 'these options narrow --all'),
  async run({ id, project, session, class: failed, state: only, waiting }, { settings, signal }) {
    const { client } = connect(settings().config)
    if (id !== undefined) {
      const ticket = await client.call(retryTicket, { params: { ticketId: id } }, { signal })
      return { json: ticket, text: `${ticket.id} is ${ticket.state} now` }
    }
    const body = {
      waiting, ...(project === undefined ? {} : { projectId: project }), ...(session === undefined ? {} : { sessionId: session }),
      ...(failed === undefined ? {} : { failureClass: failed }), ...(only === undefined ? {} : { state: only }),
    }
    const sent: string[] = []
    const left: { ticketId: string; reason: string }[] = []
    for (let cursor: string | null | undefined; cursor !== null;) {
      const answer = await client.call(retryTickets, { body: { ...body, ...(cursor === undefined ? {} : { cursor }) } }, { signal })
      sent.push(...answer.sent)
      left.push(...answer.left)
      cursor = answer.nextCursor
    }
    return { json: { sent, left }, text: [`${sent.length} sent back to work`, ...left.map(({ ticketId, reason }) => `  ${ticketId} is left: ${reason}`)].join('\n') }
  },
})
