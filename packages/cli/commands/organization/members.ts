import { listInvitations, listMembers } from '@swarm/contract/endpoints/organizations.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { plain, table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const organizationMembers = command({
  name: 'organization members',
  summary: 'Lists the members of an organisation, or its invitations',
  examples: [['swarm organization members', 'of the default organisation'], ['swarm organization members acme --invitations', 'who was invited, and what became of it']],
  arguments: [{ name: 'organization', description: 'slug or id; default unless given', optional: true }],
  options: [{ flags: '--invitations', description: 'invitations instead of members' }],
  input: z.object({ organization: z.string().default('default'), invitations: z.boolean().default(false) }),
  async run({ organization, invitations }, { settings, signal }) {
    const { client } = connect(settings().config)
    const params = { organizationId: organization }
    if (invitations) {
      const items = await all((cursor) => client.call(listInvitations, { params, query: { limit: 200, ...cursor } }, { signal }))
      return { json: { invitations: items }, text: items.length === 0 ? 'Nobody was invited.' : table(['id', 'e-mail', 'role', 'state', 'by', 'until'], items.map((each) => [each.id, each.email, each.role, each.state, each.invitedBy, time(each.expiresAt)])) }
    }
    const members = await all((cursor) => client.call(listMembers, { params, query: { limit: 200, ...cursor } }, { signal }))
    return { json: { members }, text: members.length === 0 ? 'It has no members.' : table(['user', 'e-mail', 'name', 'role', 'since'], members.map((each) => [each.userId, each.email, plain(each.name), each.role, time(each.since)])) }
  },
})
