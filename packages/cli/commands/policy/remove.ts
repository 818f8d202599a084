import { removePolicy } from '@swarm/contract/endpoints/policies.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'
import { FIRST_ORGANIZATION, ORGANIZATION } from './organization.ts'

export const policyRemove = command({
  name: 'policy remove',
  summary: 'Removes a policy of your own; one of Swarm\'s is as it was shipped then',
  examples: [['swarm policy remove no-shells', 'it decides nothing any more']],
  arguments: [{ name: 'id', description: 'the policy' }],
  options: [ORGANIZATION],
  input: z.object({ id: z.string(), organization: z.string().default(FIRST_ORGANIZATION) }),
  async run({ id, organization }, { settings, signal }) {
    await connect(settings().config).client.call(removePolicy, { params: { organizationId: organization, policyId: id } }, { signal })
    return { json: { removed: id }, text: `${id} is removed` }
  },
})
