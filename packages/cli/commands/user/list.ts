import { listUsers } from '@swarm/contract/endpoints/accounts.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { plain, table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const userList = command({
  name: 'user list',
  summary: 'Lists users',
  examples: [['swarm user list', 'everybody'], ['swarm user list --search example.org', 'whose name or address contains that']],
  options: [{ flags: '--search <text>', description: 'part of a name or an e-mail address' }],
  input: z.object({ search: z.string().optional() }),
  async run({ search }, { settings, signal }) {
    const { client } = connect(settings().config)
    const users = await all((cursor) => client.call(listUsers, { query: { limit: 200, ...(search === undefined ? {} : { search }), ...cursor } }, { signal }))
    return {
      json: { users },
      text: table(['id', 'e-mail', 'name', 'super_admin', 'second factor', 'state', 'since'], users.map((user) => [user.id, user.email, plain(user.name), user.superAdmin ? 'yes' : '-', user.twoFactor ? 'on' : '-', user.disabled ? 'disabled' : 'active', time(user.createdAt)])),
    }
  },
})
