import { listEvidenceKeys } from '@swarm/contract/endpoints/evidence.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'

export const evidenceKeys = command({
  name: 'evidence keys',
  summary: 'Prints the public keys that sign evidence, or once did',
  description: 'Give the key of this installation to whoever is to check its evidence elsewhere ("swarm verify FILE --key").',
  examples: [['swarm evidence keys', 'each with its id, in PEM'], ['swarm evidence keys > swarm.pem', 'for another machine, while there is one key']],
  input: z.object({}),
  async run(_, { settings, signal, io }) {
    const { items } = await connect(settings().config).client.call(listEvidenceKeys, {}, { signal })
    for (const key of items) io.say(`${key.id}  since ${time(key.createdAt)}${key.current ? '  (signs now)' : ''}`)
    return { json: { keys: items }, text: items.map(({ publicKey }) => publicKey).join('') }
  },
})
