import { showAgent } from '@swarm/contract/endpoints/agents.ts'
import { z } from 'zod'
import { stringify } from 'yaml'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const agentShow = command({
  name: 'agent show',
  summary: 'Shows an agent\'s definition, as a file that "agent edit" takes',
  examples: [['swarm agent show developer > developer.yml', 'to change it and hand it to "agent edit"'], ['swarm agent show developer --at 1', 'an earlier version']],
  arguments: [{ name: 'name', description: 'the agent' }],
  options: [{ flags: '--at <version>', description: 'the newest unless given' }],
  input: z.object({ name: z.string(), at: z.coerce.number('give a version number').int().min(1).optional() }),
  async run({ name, at }, { settings, signal }) {
    const agent = await connect(settings().config).client.call(showAgent, { params: { name }, query: at === undefined ? {} : { version: at } }, { signal })
    return { json: agent, text: `# ${agent.name}, version ${agent.version}\n${stringify(agent.definition)}` }
  },
})
