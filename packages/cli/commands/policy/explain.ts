import { explainPolicy } from '@swarm/contract/endpoints/policies.ts'
import { ACTION_NAMES } from '@swarm/core/policy/actions.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'
import { ORGANIZATION } from './organization.ts'

const KINDS = ['project', 'repository', 'session', 'ticket', 'question', 'approval', 'change', 'vm', 'host'] as const
const Principal = z.string().transform((text, context) => {
  const [kind = '', id = ''] = text.split(':', 2)
  if ((kind === 'user' || kind === 'agent') && id !== '') return { kind, id } as const
  context.addIssue({ code: 'custom', message: 'write user:USR-… or agent:NAME' })
  return z.NEVER
})
const Resource = z.string().transform((text, context) => {
  const [kind = '', id = ''] = text.split(':', 2)
  const known = KINDS.find((each) => each === kind)
  if (known !== undefined && id !== '') return { kind: known, id }
  context.addIssue({ code: 'custom', message: `write ${KINDS.join(':…, ')}:…` })
  return z.NEVER
})

export const policyExplain = command({
  name: 'policy explain',
  summary: 'Says whether somebody may do something, and which policies decide it',
  examples: [['swarm policy explain user:USR-7Q2M9XKD ticket:hold ticket:TKT-7Q2M9XKD', 'may they hold this ticket?'], ['swarm policy explain agent:developer egress:connect host:registry.example.org --project shop', 'may agents of this project reach it?']],
  arguments: [{ name: 'who', description: 'user:<id> or agent:<name>' }, { name: 'action', description: 'such as ticket:hold; docs/security.md lists them' }, { name: 'what', description: 'such as ticket:<id>; the organisation unless given', optional: true }],
  options: [ORGANIZATION, { flags: '--project <name>', description: 'of a host: the project from which it is reached' }],
  input: z.object({ who: Principal, action: z.enum(ACTION_NAMES, 'there is no such action'), what: Resource.optional(), organization: z.string().optional(), project: z.string().optional() }),
  async run({ who, action, what, organization, project }, { settings, signal }) {
    const found = await connect(settings().config).client.call(explainPolicy, {
      body: { organizationId: organization, principal: who, action, ...(what === undefined ? {} : { resource: { ...what, ...(project === undefined ? {} : { projectId: project }) } }) },
    }, { signal })
    const { outcome, policies, approval } = found.now
    const words = { allow: 'allowed', deny: 'denied', approval: `waits for an approval of kind ${approval ?? ''}` }[outcome]
    return { json: found, text: `${words}: ${policies.length === 0 ? 'no policy permits it' : policies.join(', ')}` }
  },
})
