import { listTickets, TicketState } from '@swarm/contract/endpoints/tickets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { money, table } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const ticketList = command({
  name: 'ticket list',
  summary: 'Lists tickets, with what each waits for',
  examples: [['swarm ticket list', 'all of them'], ['swarm ticket list --state on_hold', 'those that need somebody'], ['swarm ticket list --session SES-7Q2M9XKD', 'those of one design session']],
  options: [{ flags: '--state <state>', description: 'only those in this state' }, { flags: '--session <id>', description: 'only those of this design session' }, { flags: '--project <id>', description: 'only those of this project' }],
  input: z.object({ state: z.enum(TicketState.options, 'there is no such state').optional(), session: z.string().optional(), project: z.string().optional() }),
  async run({ state, session, project }, { settings, signal }) {
    const { client } = connect(settings().config)
    const query = { limit: 200, ...(state === undefined ? {} : { state }), ...(session === undefined ? {} : { sessionId: session }), ...(project === undefined ? {} : { projectId: project }) }
    const tickets = await all((cursor) => client.call(listTickets, { query: { ...query, ...cursor } }, { signal }))
    return {
      json: { tickets },
      text: table(['id', 'title', 'state', 'wave', 'attempts', 'cost', 'waits for'], tickets.map((each) => [each.id, each.title, each.state, each.wave, each.attempts, money(each.costMicroUsd), each.waitsFor ?? ''])),
    }
  },
})
