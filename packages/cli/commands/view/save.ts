import { TicketSort, TicketState, TicketWaiting } from '@swarm/contract/endpoints/tickets.ts'
import { createView, listViews, updateView } from '@swarm/contract/endpoints/views.ts'
import { BOARD_COLUMN_NAMES } from '@swarm/core/tickets/board.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { UserError } from '../../errors.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

const priority = z.coerce.number('give a number').int().min(-100).max(100).optional()

export const viewSave = command({
  name: 'view save',
  summary: 'Saves a view of a board, in place of your view of the same name',
  examples: [['swarm view save "Needs me" --state on_hold in_review --sort updated', 'for yourself'], ['swarm view save Urgent --project shop --min-priority 50 --shared', 'for everybody in a project']],
  arguments: [{ name: 'name', description: 'its name' }],
  options: [
    { flags: '--project <slug>', description: 'the project that it shows; all that you may see unless given' }, { flags: '--shared', description: 'everybody in the project sees it' }, { flags: '--state <state...>', description: 'tickets in one of these states' },
    { flags: '--agent <name...>', description: 'tickets of one of these agents' }, { flags: '--text <text>', description: 'tickets with this in title, key or id' }, { flags: '--session <id>', description: 'tickets of this design session' },
    { flags: '--waiting <kind>', description: 'tickets that wait for dependencies, retry, review or person' }, { flags: '--min-priority <number>', description: 'tickets of at least this priority' },
    { flags: '--max-priority <number>', description: 'tickets of at most this priority' }, { flags: '--columns <column...>', description: `columns from left to right, of ${BOARD_COLUMN_NAMES.join(', ')}` }, { flags: '--sort <order>', description: 'created, updated or priority (the default)' },
  ],
  input: z.object({
    name: z.string(), project: z.string().optional(), shared: z.boolean().default(false), state: z.array(z.enum(TicketState.options, 'there is no such state')).optional(), agent: z.array(z.string()).optional(), text: z.string().optional(), session: z.string().optional(),
    waiting: z.enum(TicketWaiting.options, 'give dependencies, retry, review or person').optional(), minPriority: priority, maxPriority: priority, columns: z.array(z.enum(BOARD_COLUMN_NAMES, 'there is no such column')).optional(),
    sort: z.enum(TicketSort.options, 'give created, updated or priority').optional(),
  }),
  async run({ name, project, shared, columns, sort, session, ...filters }, { settings: read, signal }) {
    if (shared && project === undefined) throw new UserError('misuse', 'A view is shared with a project.', 'Name it with --project.')
    const { client } = connect(read().config)
    const settings = { filters: { ...filters, sessionId: session }, columns: columns ?? [...BOARD_COLUMN_NAMES], sort: sort ?? 'priority' as const }
    // A view keeps its project: one of the same name in another is in the way, and the server says so.
    const known = (await all((cursor) => client.call(listViews, { query: { limit: 200, projectId: project, ...cursor } }, { signal }))).find((view) => view.mine && view.name === name && (project !== undefined || view.projectId === null))
    const view = known === undefined ? await client.call(createView, { body: { name, shared, settings, ...(project === undefined ? {} : { projectId: project }) } }, { signal })
      : await client.call(updateView, { params: { viewId: known.id }, body: { shared, settings } }, { signal })
    return { json: view, text: `${view.id}  ${view.name}${view.shared ? ', shared' : ''}` }
  },
})
