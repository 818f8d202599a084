import { listSessions } from '@swarm/contract/endpoints/design.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const sessionList = command({
  name: 'session list',
  summary: 'Lists design sessions',
  examples: [['swarm session list', 'each spec that was handed in, and how far it is']],
  input: z.object({}),
  async run(_, { settings, signal }) {
    const { client } = connect(settings().config)
    const sessions = await all((cursor) => client.call(listSessions, { query: { limit: 200, ...cursor } }, { signal }))
    return { json: { sessions }, text: table(['id', 'title', 'state', 'model', 'project', 'created'], sessions.map((each) => [each.id, each.title, each.state, each.modelLabel, each.projectId, time(each.createdAt)])) }
  },
})
