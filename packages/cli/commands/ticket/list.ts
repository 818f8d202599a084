import { listTickets, TicketSort, TicketState, TicketWaiting } from '@swarm/contract/endpoints/tickets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { money, table } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const ticketList = command({
  name: 'ticket list',
  summary: 'Lists tickets, with what each waits for',
  examples: [['swarm ticket list', 'all of them'], ['swarm ticket list --state on_hold failed', 'those that need somebody'], ['swarm ticket list --session SES-7Q2M9XKD --sort priority', 'those of one design session, in the order in which they are taken'], ['swarm ticket list --text parser', 'by words of their title']],
  options: [
    { flags: '--state <state...>', description: 'only those in one of these states' }, { flags: '--session <id>', description: 'only those of this design session' }, { flags: '--project <id>', description: 'only those of this project' },
    { flags: '--agent <name...>', description: 'only those of one of these agents' }, { flags: '--text <text>', description: 'only those with this in title, key or id' },
    { flags: '--waiting <kind>', description: 'only those that wait for this: dependencies, retry, review or person' }, { flags: '--sort <order>', description: 'created (the default), updated or priority' },
  ],
  input: z.object({
    state: z.array(z.enum(TicketState.options, 'there is no such state')).optional(), session: z.string().optional(), project: z.string().optional(), agent: z.array(z.string()).optional(), text: z.string().optional(),
    waiting: z.enum(TicketWaiting.options, 'give dependencies, retry, review or person').optional(), sort: z.enum(TicketSort.options, 'give created, updated or priority').optional(),
  }),
  async run({ session, project, ...filter }, { settings, signal }) {
    const { client } = connect(settings().config)
    const query = { limit: 200, ...filter, sessionId: session, projectId: project }
    const tickets = await all((cursor) => client.call(listTickets, { query: { ...query, ...cursor } }, { signal }))
    return {
      json: { tickets },
      text: table(['id', 'title', 'state', 'priority', 'wave', 'attempts', 'cost', 'waits for'], tickets.map((each) => [each.id, each.title, each.state, each.priority, each.wave, each.attempts, money(each.costMicroUsd), each.waitsFor ?? ''])),
    }
  },
})
