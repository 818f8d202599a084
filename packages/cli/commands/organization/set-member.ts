import { removeMember, setMember } from '@swarm/contract/endpoints/organizations.ts'
import { ROLES } from '@swarm/core/policy/actions.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

const WORDS = [...ROLES, 'none'] as const

export const organizationSetMember = command({
  name: 'organization set-member',
  summary: 'Changes the role of a member, or removes them',
  examples: [['swarm organization set-member acme somebody@example.org --role admin', 'may invite others'], ['swarm organization set-member acme somebody@example.org --role none', 'is a member no longer']],
  arguments: [{ name: 'organization', description: 'slug or id' }, { name: 'user', description: 'e-mail address or id' }],
  options: [{ flags: '--role <role>', description: WORDS.join(', ') }],
  input: z.object({ organization: z.string(), user: z.string(), role: z.enum(WORDS, `give one of ${WORDS.join(', ')}`) }),
  async run({ organization, user, role }, { settings, signal }) {
    const { client } = connect(settings().config)
    const params = { organizationId: organization, userId: user }
    if (role === 'none') {
      await client.call(removeMember, { params }, { signal })
      return { json: { organization, user, role: null }, text: `${user} is no member of ${organization} any more` }
    }
    const member = await client.call(setMember, { params, body: { role } }, { signal })
    return { json: member, text: `${member.email} is ${member.role} of ${organization}` }
  },
})
