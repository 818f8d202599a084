import { listOrganizations } from '@swarm/contract/endpoints/organizations.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { plain, table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const organizationList = command({
  name: 'organization list',
  summary: 'Lists organisations',
  examples: [['swarm organization list', 'those that you belong to; all of them for a super_admin']],
  input: z.object({}),
  async run(_, { settings, signal }) {
    const { client } = connect(settings().config)
    const organizations = await all((cursor) => client.call(listOrganizations, { query: { limit: 200, ...cursor } }, { signal }))
    return { json: { organizations }, text: table(['id', 'slug', 'name', 'since'], organizations.map((each) => [each.id, each.slug, plain(each.name), time(each.createdAt)])) }
  },
})
