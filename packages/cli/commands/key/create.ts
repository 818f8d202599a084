import { createKey } from '@swarm/contract/endpoints/api-keys.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

const DAY_MS = 86_400_000

export const keyCreate = command({
  name: 'key create',
  summary: 'Makes an API key, and shows it once',
  examples: [['swarm key create ci --scope ticket:read --days 90', 'reads tickets for three months'], ['swarm key create laptop --scope "*"', 'may do what you may, until it is revoked']],
  arguments: [{ name: 'name', description: 'what you call it' }],
  options: [{ flags: '--scope <scope...>', description: '<resource>:<verb>, <resource>:* or *' }, { flags: '--days <number>', description: 'it ends after so many days; never unless given' }],
  input: z.object({ name: z.string(), scope: z.array(z.string(), { error: 'give at least one' }).min(1), days: z.coerce.number('give a number').min(1).max(3_650).optional() }),
  async run({ name, scope, days }, { settings, signal }) {
    const key = await connect(settings().config).client.call(createKey, { body: { name, scopes: scope, ...(days === undefined ? {} : { expiresInMs: Math.round(days * DAY_MS) }) } }, { signal })
    return { json: key, text: `${key.id}, shown this once:\n${key.token}` }
  },
})
