import { revokeKey } from '@swarm/contract/endpoints/api-keys.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const keyRevoke = command({
  name: 'key revoke',
  summary: 'Revokes one of your API keys at once',
  examples: [['swarm key revoke TOK-7Q2M9XKD', 'whoever uses it gets 401 from now on']],
  arguments: [{ name: 'id', description: 'the key' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    await connect(settings().config).client.call(revokeKey, { params: { keyId: id } }, { signal })
    return { json: { id, revoked: true }, text: `${id} is revoked` }
  },
})
