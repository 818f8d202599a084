import { listRepositories } from '@swarm/contract/endpoints/repositories.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const repositoryList = command({
  name: 'repository list',
  summary: 'Lists repositories',
  examples: [['swarm repository list', 'with where each was imported from']],
  input: z.object({}),
  async run(_, { settings, signal }) {
    const { client } = connect(settings().config)
    const repositories = await all((cursor) => client.call(listRepositories, { query: { limit: 200, ...cursor } }, { signal }))
    return { json: { repositories }, text: table(['id', 'project', 'slug', 'branch', 'origin'], repositories.map((each) => [each.id, each.projectId, each.slug, each.defaultBranch, each.origin ?? '-'])) }
  },
})
