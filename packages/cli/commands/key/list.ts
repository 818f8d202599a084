import { listKeys } from '@swarm/contract/endpoints/api-keys.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { plain, table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const keyList = command({
  name: 'key list',
  summary: 'Lists your API keys',
  examples: [['swarm key list', 'what they may do, and when they were last used']],
  input: z.object({}),
  async run(_, { settings, signal }) {
    const { client } = connect(settings().config)
    const keys = await all((cursor) => client.call(listKeys, { query: { limit: 200, ...cursor } }, { signal }))
    const state = ({ revokedAt, expiresAt }: (typeof keys)[number]): string => revokedAt !== null ? 'revoked' : expiresAt !== null && expiresAt <= Date.now() ? 'expired' : 'active'
    return { json: { keys }, text: keys.length === 0 ? 'You have none.' : table(['id', 'name', 'scopes', 'state', 'expires', 'last used'], keys.map((key) => [key.id, plain(key.name), key.scopes.join(' '), state(key), time(key.expiresAt), time(key.lastUsedAt)])) }
  },
})
