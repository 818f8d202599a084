import { listSecrets, removeSecret } from '@swarm/contract/endpoints/secrets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { UserError } from '../../errors.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const secretRemove = command({
  name: 'secret remove',
  summary: 'Destroys a secret; work that runs keeps it until it ends',
  examples: [['swarm secret remove registry --project shop', 'the project\'s secret of this name'], ['swarm secret remove SEC-7Q2M9XKD', 'by its id']],
  arguments: [{ name: 'secret', description: 'its name, or its id' }],
  options: [{ flags: '--project <name>', description: 'the project that has it, by id or slug; without one, that of every project' }],
  input: z.object({ secret: z.string(), project: z.string().optional() }),
  async run({ secret, project }, { settings, signal }) {
    const { client } = connect(settings().config)
    const secrets = await all((cursor) => client.call(listSecrets, { query: { limit: 200, ...cursor, ...(project === undefined ? {} : { projectId: project }) } }, { signal }))
    const found = secrets.find((each) => each.id === secret || (each.name === secret && (each.projectId === null) === (project === undefined)))
    if (!found) throw new UserError('not_found', `There is no secret ${secret}${project === undefined ? '' : ` of project ${project}`}.`, '"swarm secret list" shows those that there are; a project\'s own is named with --project.')
    await client.call(removeSecret, { params: { secretId: found.id } }, { signal })
    return { json: { removed: found }, text: `${found.id} ${found.name} is destroyed` }
  },
})
