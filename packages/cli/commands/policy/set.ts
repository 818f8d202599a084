import { listPolicies, setPolicy } from '@swarm/contract/endpoints/policies.ts'
import { z } from 'zod'
import { userPath } from '../../config.ts'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'
import { readableFile } from '../../run/inputs.ts'
import { FIRST_ORGANIZATION, ORGANIZATION } from './organization.ts'

export const policySet = command({
  name: 'policy set',
  summary: 'Makes or changes a policy, or switches one off and on',
  examples: [
    ['swarm policy set no-shells --file no-shells.cedar --summary "Nobody opens a shell in a microVM"', 'one of your own, checked before it is stored'],
    ['swarm policy set merge-needs-a-person --off', 'agents merge without a person from now on'],
  ],
  arguments: [{ name: 'id', description: 'lower-case letters, digits and hyphens' }],
  options: [ORGANIZATION, { flags: '--file <file>', description: 'its text in Cedar' }, { flags: '--summary <text>', description: 'what it says, in a sentence' }, { flags: '--on', description: 'switches it on' }, { flags: '--off', description: 'switches it off' }],
  input: z.object({ id: z.string(), organization: z.string().default(FIRST_ORGANIZATION), file: z.string().optional(), summary: z.string().optional(), on: z.boolean().default(false), off: z.boolean().default(false) }),
  async run({ id, organization, file, summary, on, off }, { settings, signal }) {
    const { client } = connect(settings().config)
    const text = file === undefined ? undefined : await readableFile(userPath(file), 'The policy')
    const { items } = await client.call(listPolicies, { query: { organizationId: organization } }, { signal })
    const before = items.find((each) => each.id === id)
    const cedar = text ?? (before?.shipped === false ? before.cedar : undefined)
    const policy = await client.call(setPolicy, {
      params: { organizationId: organization, policyId: id }, body: { enabled: off ? false : on || (before?.enabled ?? true), version: before?.version ?? 0, ...(cedar === undefined ? {} : { cedar }), ...(summary === undefined ? {} : { summary }) },
    }, { signal })
    return { json: policy, text: `${policy.id} is ${policy.enabled ? 'on' : 'off'}, version ${policy.version}` }
  },
})
