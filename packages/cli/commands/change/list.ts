import { listChanges } from '@swarm/contract/endpoints/changes.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const changeList = command({
  name: 'change list',
  summary: 'Lists changes',
  examples: [['swarm change list', 'all of them'], ['swarm change list --state open', 'those that are not merged yet']],
  options: [{ flags: '--state <state>', description: 'open, merged or closed' }, { flags: '--ticket <id>', description: 'that of one ticket' }],
  input: z.object({ state: z.enum(['open', 'merged', 'closed'], 'choose open, merged or closed').optional(), ticket: z.string().optional() }),
  async run({ state, ticket }, { settings, signal }) {
    const { client } = connect(settings().config)
    const changes = await all((cursor) => client.call(listChanges, { query: { limit: 200, ...(state === undefined ? {} : { state }), ...(ticket === undefined ? {} : { ticketId: ticket }), ...cursor } }, { signal }))
    return { json: { changes }, text: table(['id', 'ticket', 'title', 'state', 'head', 'merged as', 'updated'], changes.map((each) => [each.id, each.ticketId, each.title, each.state, each.headSha.slice(0, 12), each.mergedSha?.slice(0, 12) ?? '-', time(each.updatedAt)])) }
  },
})
