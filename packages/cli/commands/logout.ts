import { createClient } from '@swarm/contract/client.ts'
import { signOut } from '@swarm/contract/endpoints/accounts.ts'
import { ApiError } from '@swarm/contract/errors.ts'
import { z } from 'zod'
import { command } from '../command.ts'
import { serverOf } from '../platform/connect.ts'
import { credentialFor, keepCredential } from '../platform/credentials.ts'

export const logout = command({
  name: 'logout',
  summary: 'Ends the session that "swarm login" began',
  examples: [['swarm logout', 'at the server of this home folder'], ['swarm logout --server https://swarm.example.org', 'at another one']],
  input: z.object({}),
  async run(_, { settings, signal }) {
    const { config } = settings()
    const { url } = serverOf(config)
    const kept = credentialFor(config.home, url)
    if (!kept) return { json: { server: url, ended: false }, text: `Nobody is signed in at ${url}.` }
    try {
      await createClient({ baseUrl: url, token: kept.token }).call(signOut, {}, { signal })
    } catch (error) {
      // It had ended already. Any other failure keeps it here, so that it can be ended later.
      if (!(error instanceof ApiError && error.status === 401)) throw error
    }
    keepCredential(config.home, url, null)
    return { json: { server: url, ended: true }, text: `Signed out at ${url}.` }
  },
})
