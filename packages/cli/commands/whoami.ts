import { showMe } from '@swarm/contract/endpoints/accounts.ts'
import { z } from 'zod'
import { command } from '../command.ts'
import { connect } from '../platform/connect.ts'

export const whoami = command({
  name: 'whoami',
  summary: 'Says who commands act as, and where',
  examples: [['swarm whoami', 'at the server of this home folder'], ['swarm whoami --server https://swarm.example.org', 'at another one']],
  input: z.object({}),
  async run(_, { settings, signal }) {
    const { client, server, token } = connect(settings().config)
    if (token.startsWith('swarm_admin_')) return { json: { server: server.url, via: 'admin token' }, text: `The admin token of this home folder, at ${server.url}.` }
    const me = await client.call(showMe, {}, { signal })
    const roles = [...(me.superAdmin ? ['super_admin'] : []), ...me.memberships.map(({ slug, role }) => `${role} in ${slug}`)]
    return {
      json: { server: server.url, ...me },
      text: [`${me.name} (${me.email}) at ${server.url}`, `  roles   ${roles.join(', ') || 'none'}`, `  via     ${me.scopes === null ? 'a session' : `an API key for ${me.scopes.join(', ')}`}`].join('\n'),
    }
  },
})
