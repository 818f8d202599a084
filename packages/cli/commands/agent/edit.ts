import { editAgent, showAgent } from '@swarm/contract/endpoints/agents.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'
import { readDefinition } from './definition.ts'

export const agentEdit = command({
  name: 'agent edit',
  summary: 'Makes a new version of an agent from a file',
  description: 'Attempts keep the version that they ran with.',
  examples: [['swarm agent edit developer --file developer.yml', 'takes the whole definition from the file'], ['swarm agent edit developer --file developer.yml --from 3', 'refused if somebody changed version 3 meanwhile']],
  arguments: [{ name: 'name', description: 'the agent' }],
  options: [{ flags: '--file <file>', description: 'the definition' }, { flags: '--from <version>', description: 'the version that the file was made from; the newest unless given' }],
  input: z.object({ name: z.string(), file: z.string({ error: 'give the file with its definition' }), from: z.coerce.number('give a version number').int().min(1).optional() }),
  async run({ name, file, from }, { settings, signal }) {
    const definition = await readDefinition(file)
    const { client } = connect(settings().config)
    const version = from ?? (await client.call(showAgent, { params: { name } }, { signal })).version
    const agent = await client.call(editAgent, { params: { name }, body: { definition, version } }, { signal })
    return { json: agent, text: `${agent.name}, version ${agent.version}` }
  },
})
