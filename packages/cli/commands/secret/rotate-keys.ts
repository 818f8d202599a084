import { rotateSecretKeys } from '@swarm/contract/endpoints/secrets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const secretRotateKeys = command({
  name: 'secret rotate-keys',
  summary: 'Brings every secret under the newest key; values stay as they are',
  description: 'Cut off anywhere, it may be run again and does the rest. Keys that no secret needs any more are named: backups from before may need them.',
  examples: [['swarm secret rotate-keys --new-key', 'makes a key and brings all under it'], ['swarm secret rotate-keys', 'after a new key was put first in SWARM_SECRETS_KEYS or in what the program prints']],
  options: [{ flags: '--new-key', description: 'make a new key first, where keys are files of the home folder' }],
  input: z.object({ newKey: z.boolean().default(false) }),
  async run({ newKey }, { settings, signal }) {
    const answer = await connect(settings().config).client.call(rotateSecretKeys, { body: { newKey } }, { signal })
    return { json: answer, text: `${answer.rewrapped} secrets were brought under key ${answer.keyId}${answer.unneededKeyIds.length === 0 ? '' : `; no secret needs ${answer.unneededKeyIds.join(', ')} any more`}` }
  },
})
