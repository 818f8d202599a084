import type { Role } from '@swarm/core/policy/actions.ts'
import { createClient, type Client } from '@swarm/contract/client.ts'
import type { Feature } from './context.ts'
import { DEFAULT_ORGANIZATION_ID } from './authorization/resources.ts'
import { startPlatform } from './platform.ts'
import type { TestServer } from './testing.ts'

const HEADER = 'x-test-user'

/** Instead of the shipped features: the platform, where a request may say which user it comes from. Who that is allowed to be what is still asked of the database. */
export const WITH_PEOPLE: readonly Feature[] = [
  ({ http }) => {
    http.app.addHook('onRequest', async (request) => {
      const id = request.headers[HEADER]
      if (typeof id === 'string') request.principal = { kind: 'user', id, tokenId: null }
    })
  },
  startPlatform,
]

/** Calls as a new user with this role in the first organisation, or in none. */
export async function person(server: TestServer, id: string, role?: Role): Promise<Client> {
  await server.context.db.write(async (trx) => {
    await trx.insertInto('users').values({ id, role: 'user', name: id, email: `${id.toLowerCase()}@example.org` }).execute()
    if (role !== undefined) await trx.insertInto('members').values({ organization_id: DEFAULT_ORGANIZATION_ID, user_id: id, role }).execute()
  })
  return createClient({ baseUrl: server.url, token: server.adminToken, fetch: (input, init) => fetch(input, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), [HEADER]: id } }) })
}
