import { listSecrets } from '@swarm/contract/endpoints/secrets.ts'
import { headerOf } from '@swarm/core/secrets/injection.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const secretList = command({
  name: 'secret list',
  summary: 'Lists secrets: where they go and when they were used last, never their values',
  examples: [['swarm secret list', 'all of them'], ['swarm secret list --project shop', 'those that microVMs of this project get']],
  options: [{ flags: '--project <name>', description: 'by id or slug' }],
  input: z.object({ project: z.string().optional() }),
  async run({ project }, { settings, signal }) {
    const { client } = connect(settings().config)
    const secrets = await all((cursor) => client.call(listSecrets, { query: { limit: 200, ...cursor, ...(project === undefined ? {} : { projectId: project }) } }, { signal }))
    return {
      json: { secrets },
      text: table(['id', 'name', 'for', 'header', 'hosts', 'version', 'set by', 'set', 'used last'], secrets.map((each) => [each.id, each.name, each.projectId ?? 'every project', headerOf(each.injection), each.hosts.join(' '), each.version, each.updatedBy, time(each.updatedAt), time(each.lastUsedAt)])),
    }
  },
})
