import { listProjects } from '@swarm/contract/endpoints/projects.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const projectList = command({
  name: 'project list',
  summary: 'Lists projects',
  examples: [['swarm project list', 'all projects of this platform']],
  input: z.object({}),
  async run(_, { settings, signal }) {
    const { client } = connect(settings().config)
    const projects = await all((cursor) => client.call(listProjects, { query: { limit: 200, ...cursor } }, { signal }))
    return { json: { projects }, text: table(['id', 'slug', 'name', 'at once', 'created'], projects.map((each) => [each.id, each.slug, each.name, each.settings.concurrency, time(each.createdAt)])) }
  },
})
