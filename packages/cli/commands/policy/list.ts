import { listPolicies } from '@swarm/contract/endpoints/policies.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { table } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { ORGANIZATION } from './organization.ts'

export const policyList = command({
  name: 'policy list',
  summary: 'Lists the policies that say who may do what',
  examples: [['swarm policy list', 'Swarm\'s own and those of your organisation']],
  options: [ORGANIZATION],
  input: z.object({ organization: z.string().optional() }),
  async run({ organization }, { settings, signal }) {
    const { items } = await connect(settings().config).client.call(listPolicies, { query: { organizationId: organization } }, { signal })
    const kind = (each: (typeof items)[number]) => each.locked ? 'Swarm, always on' : each.shipped ? 'Swarm' : 'own'
    return { json: { policies: items }, text: table(['id', 'from', 'state', 'what it says'], items.map((each) => [each.id, kind(each), each.enabled ? 'on' : 'off', each.summary])) }
  },
})
