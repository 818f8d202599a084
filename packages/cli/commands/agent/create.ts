import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'
import { readDefinition } from './definition.ts'

export const agentCreate = command({
  name: 'agent create',
  summary: 'Registers an agent from a file',
  examples: [['swarm agent create formatter --file formatter.yml', 'YAML or JSON: description, config {template, …}, limits, vm']],
  arguments: [{ name: 'name', description: 'lower-case letters, digits and hyphens' }],
  options: [{ flags: '--file <file>', description: 'the definition' }],
  input: z.object({ name: z.string(), file: z.string({ error: 'give the file with its definition' }) }),
  async run({ name, file }, { settings, signal }) {
    const definition = await readDefinition(file)
    const agent = await connect(settings().config).client.call(createAgent, { body: { name, definition } }, { signal })
    return { json: agent, text: `${agent.name}, version ${agent.version}` }
  },
})
