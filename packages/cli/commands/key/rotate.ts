import { rotateKey } from '@swarm/contract/endpoints/api-keys.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

const HOUR_MS = 3_600_000

export const keyRotate = command({
  name: 'key rotate',
  summary: 'Makes a new key in place of one, which works on for a while',
  examples: [['swarm key rotate TOK-7Q2M9XKD', 'the old one ends in a day'], ['swarm key rotate TOK-7Q2M9XKD --overlap-hours 0', 'at once: it has leaked']],
  arguments: [{ name: 'id', description: 'the key' }],
  options: [{ flags: '--overlap-hours <number>', description: 'how long the old one works on; 24 unless given' }],
  input: z.object({ id: z.string(), overlapHours: z.coerce.number('give a number').min(0).max(720).default(24) }),
  async run({ id, overlapHours }, { settings, signal }) {
    const key = await connect(settings().config).client.call(rotateKey, { params: { keyId: id }, body: { overlapMs: Math.round(overlapHours * HOUR_MS) } }, { signal })
    return { json: key, text: `${key.id} takes the place of ${id}, shown this once:\n${key.token}` }
  },
})
