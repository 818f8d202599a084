import { listPolicies } from '@swarm/contract/endpoints/policies.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { UserError } from '../../errors.ts'
import { connect } from '../../platform/connect.ts'
import { ORGANIZATION } from './organization.ts'

export const policyShow = command({
  name: 'policy show',
  summary: 'Shows a policy as Cedar text',
  examples: [['swarm policy show merge-needs-a-person', 'to write one like it']],
  arguments: [{ name: 'id', description: 'the policy' }],
  options: [ORGANIZATION],
  input: z.object({ id: z.string(), organization: z.string().optional() }),
  async run({ id, organization }, { settings, signal }) {
    const { items } = await connect(settings().config).client.call(listPolicies, { query: { organizationId: organization } }, { signal })
    const policy = items.find((each) => each.id === id)
    if (!policy) throw new UserError('not_found', `There is no policy ${id}.`, '"swarm policy list" lists them.')
    return { json: policy, text: `// ${policy.summary}\n// ${policy.enabled ? 'on' : 'off'}, version ${policy.version}\n${policy.cedar}` }
  },
})
