import { listAgents } from '@swarm/contract/endpoints/agents.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const agentList = command({
  name: 'agent list',
  summary: 'Lists agents',
  examples: [['swarm agent list', 'every agent, at its newest version']],
  input: z.object({}),
  async run(_, { settings, signal }) {
    const { client } = connect(settings().config)
    const agents = await all((cursor) => client.call(listAgents, { query: { limit: 200, ...cursor } }, { signal }))
    return {
      json: { agents },
      text: table(['name', 'version', 'template', 'model', 'description'], agents.map(({ name, version, definition }) => [name, version, definition.config.template, definition.config.template === 'claude' ? definition.config.model : '-', definition.description.split('\n')[0] ?? ''])),
    }
  },
})
