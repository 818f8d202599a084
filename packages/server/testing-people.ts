import { randomBytes } from 'node:crypto'
import type { Client } from '@swarm/contract/client.ts'
import { DEFAULT_ORGANIZATION_ID, type Role } from '@swarm/core/policy/actions.ts'
import { hashToken } from './http/tokens.ts'
import type { TestServer } from './testing.ts'

export interface Person extends Client { readonly id: string; readonly token: string }

/** Somebody who has signed in, with this role in the first organisation or in none: what tests of other things than signing in need of a person. */
export async function person(server: TestServer, id: string, role?: Role, more: { superAdmin?: boolean; organizationId?: string } = {}): Promise<Person> {
  const token = `swarm_session_${randomBytes(32).toString('base64url')}`
  const now = Date.now()
  await server.context.db.write(async (trx) => {
    await trx.insertInto('users').values({ id, name: id, email: `${id.toLowerCase()}@example.org`, image: null, email_verified: 1, super_admin: more.superAdmin === true ? 1 : 0, two_factor_enabled: 0, disabled_at: null, created_at: now, updated_at: now }).execute()
    if (role !== undefined) await trx.insertInto('members').values({ organization_id: more.organizationId ?? DEFAULT_ORGANIZATION_ID, user_id: id, role, created_at: now }).execute()
    await trx.insertInto('user_sessions').values({ id: `login-${id}`, user_id: id, token_hash: hashToken(token), ip_address: null, user_agent: null, expires_at: now + 3_600_000, seen_at: now, created_at: now, updated_at: now }).execute()
  })
  return { ...server.as(token), id, token }
}
