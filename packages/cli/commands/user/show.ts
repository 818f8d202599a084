import { listUserLogins, showUser } from '@swarm/contract/endpoints/accounts.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { plain, table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const userShow = command({
  name: 'user show',
  summary: 'Shows a user, with memberships and active sessions',
  examples: [['swarm user show somebody@example.org', 'by e-mail address or id']],
  arguments: [{ name: 'user', description: 'e-mail address or id' }],
  input: z.object({ user: z.string() }),
  async run({ user: name }, { settings, signal }) {
    const { client } = connect(settings().config)
    const user = await client.call(showUser, { params: { userId: name } }, { signal })
    const sessions = await all((cursor) => client.call(listUserLogins, { params: { userId: user.id }, query: { limit: 200, ...cursor } }, { signal }))
    return {
      json: { user, sessions },
      text: [
        `${user.id}  ${user.email}  ${plain(user.name)}${user.superAdmin ? '  super_admin' : ''}${user.disabled ? '  disabled' : ''}`, ...user.memberships.map(({ slug, role }) => `  ${role} in ${slug}`),
        ...(sessions.length === 0 ? ['no active session'] : [table(['session', 'address', 'program', 'began', 'last seen'], sessions.map((each) => [each.id, each.ipAddress ?? '-', plain(each.userAgent ?? '-').slice(0, 40), time(each.createdAt), time(each.seenAt)]))]),
      ].join('\n'),
    }
  },
})
