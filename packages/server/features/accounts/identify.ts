import type { IncomingHttpHeaders } from 'node:http'
import type { Database } from '../../db/database.ts'
import { credentialOf } from '../../http/credentials.ts'
import { hashToken, verifyToken, type Principal } from '../../http/tokens.ts'
import { loginByHash, userById } from './queries.ts'

const SESSION = /^swarm_session_[A-Za-z0-9_-]{43}$/
/** With and without the prefix that browsers hold to https. */
const COOKIE = /(?:^|;\s*)(?:__Secure-)?swarm\.session_token=([^;]+)/
const SEEN_MS = 60 * 60_000
const USED_MS = 60_000

/** The token of a session in a cookie; what stands behind the dot is better-auth's signature, and the token is no easier to guess than that. */
function cookieToken(header: string | undefined): string | undefined {
  const value = COOKIE.exec(header ?? '')?.[1]
  return value?.split('.')[0]
}

/** Who a request is from: a session in a cookie or as a bearer token, or an API key. Null for anything else. */
export function userIdentifier(deps: { db: Database; now: () => number; sessionMs: number }): (headers: IncomingHttpHeaders) => Promise<Principal | null> {
  const { db } = deps
  return async (headers) => {
    const credential = credentialOf(headers)
    if (credential?.startsWith('swarm_key_')) return key(credential)
    const token = credential ?? cookieToken(headers.cookie)
    if (token === undefined || !SESSION.test(token)) return null
    const now = deps.now()
    const login = await loginByHash(db.read, hashToken(token), now)
    if (!login) return null
    if (now - login.seenAt >= SEEN_MS) {
      await db.write((trx) => trx.updateTable('user_sessions').set({ seen_at: now, updated_at: now, expires_at: now + deps.sessionMs }).where('id', '=', login.id).where('seen_at', '=', login.seenAt).execute())
    }
    return { kind: 'user', id: login.userId, tokenId: login.id }
  }

  async function key(token: string): Promise<Principal | null> {
    const principal = await verifyToken(db.read, token)
    if (principal?.kind !== 'user') return null
    const user = await userById(db.read, principal.id)
    if (!user || user.disabled_at !== null) return null
    const now = deps.now()
    const used = await db.read.selectFrom('tokens').select('last_used_at').where('id', '=', principal.tokenId).executeTakeFirst()
    if ((used?.last_used_at ?? 0) <= now - USED_MS) {
      await db.write((trx) => trx.updateTable('tokens').set({ last_used_at: now }).where('id', '=', principal.tokenId).where((eb) => eb.or([eb('last_used_at', 'is', null), eb('last_used_at', '<=', now - USED_MS)])).execute())
    }
    return principal
  }
}
