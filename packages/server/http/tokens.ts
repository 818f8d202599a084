import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import type { Read } from '../db/database.ts'
import { fromJson, json } from '../db/json.ts'
import type { Trx } from '../db/unit.ts'
import { newId } from '../ids.ts'

/** Who a token stands for. `live` opens one live connection and nothing else. */
export const TOKEN_KINDS = ['admin', 'runner', 'attempt', 'check', 'live', 'key'] as const
export type TokenKind = (typeof TOKEN_KINDS)[number]

/** The caller of a request, as its credentials say; `anonymous` on public routes. */
export interface Principal {
  readonly kind: Exclude<TokenKind, 'key'> | 'user' | 'anonymous'
  /** Subject of the token: the runner, the attempt, the user (of a session or an API key), … */
  readonly id: string
  readonly tokenId: string | null
  /** Of attempt tokens: the attempt and the fence that it holds; a service refuses when the fence is no longer current. */
  readonly attemptId?: string
  readonly fence?: number
  /** Of users who came with an API key: what it may be used for (core/policy/actions.ts); a session has none, and may all that its user may. */
  readonly scopes?: readonly string[]
}

export const ANONYMOUS: Principal = { kind: 'anonymous', id: 'anonymous', tokenId: null }

const Scopes = z.array(z.string())
const TOKEN = /^swarm_(admin|runner|attempt|check|live|key)_[A-Za-z0-9_-]{43}$/

export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

/** A new token, not stored anywhere yet: `swarm_<kind>_<32 random bytes, base64url>`. */
export function makeToken(kind: TokenKind): string {
  return `swarm_${kind}_${randomBytes(32).toString('base64url')}`
}

export interface NewToken {
  readonly kind: TokenKind
  readonly subjectId: string
  readonly fence?: number
  /** ms since the epoch; never unless given. */
  readonly expiresAt?: number
  /** Of API keys. */
  readonly name?: string
  readonly scopes?: readonly string[]
}

/** Makes a token and stores its hash. The token itself is returned once and kept nowhere. */
export async function mintToken(trx: Trx, input: NewToken): Promise<{ token: string, tokenId: string }> {
  const token = makeToken(input.kind)
  return { token, tokenId: await storeToken(trx, token, input) }
}

/** Stores the hash of a token made by makeToken. @returns its id */
export async function storeToken(trx: Trx, token: string, input: NewToken): Promise<string> {
  const id = newId('token')
  await trx.insertInto('tokens').values({
    id, kind: input.kind, subject_id: input.subjectId, hash: hashToken(token), fence: input.fence ?? null,
    expires_at: input.expiresAt ?? null, revoked_at: null, created_at: Date.now(),
    name: input.name ?? null, scopes: input.scopes === undefined ? null : json(input.scopes), last_used_at: null, replaced_by: null,
  }).execute()
  return id
}

/** The principal of a token, or null when it is unknown, expired or revoked. */
export async function verifyToken(db: Read | Trx, token: string): Promise<Principal | null> {
  if (!TOKEN.test(token)) return null
  const hash = hashToken(token)
  const row = await db.selectFrom('tokens').selectAll().where('hash', '=', hash).executeTakeFirst()
  if (!row || !timingSafeEqual(Buffer.from(row.hash), Buffer.from(hash))) return null
  if (row.revoked_at !== null || (row.expires_at !== null && row.expires_at <= Date.now())) return null
  const kind = TOKEN_KINDS.find((known) => known === row.kind)
  if (kind === undefined) return null
  if (kind === 'key') return { kind: 'user', id: row.subject_id, tokenId: row.id, scopes: fromJson(Scopes, row.scopes ?? '[]') }
  return {
    kind, id: row.subject_id, tokenId: row.id,
    ...(kind === 'attempt' ? { attemptId: row.subject_id } : {}),
    ...(row.fence === null ? {} : { fence: row.fence }),
  }
}

/** Verifies a token and uses it up, so that a second caller gets null. */
export async function consumeToken(trx: Trx, token: string): Promise<Principal | null> {
  const principal = await verifyToken(trx, token)
  if (principal?.tokenId == null) return null
  const { numUpdatedRows } = await trx.updateTable('tokens').set({ revoked_at: Date.now() })
    .where('id', '=', principal.tokenId).where('revoked_at', 'is', null).executeTakeFirstOrThrow()
  return numUpdatedRows === 1n ? principal : null
}

/** Revokes all tokens of a subject. @returns how many were valid until now */
export async function revokeTokens(trx: Trx, subject: { kind: TokenKind, subjectId: string }): Promise<number> {
  const { numUpdatedRows } = await trx.updateTable('tokens').set({ revoked_at: Date.now() })
    .where('kind', '=', subject.kind).where('subject_id', '=', subject.subjectId).where('revoked_at', 'is', null).executeTakeFirstOrThrow()
  return Number(numUpdatedRows)
}

/** Whether the token behind a principal is still valid; for connections that outlive their first request. */
export async function verifyPrincipal(db: Read, principal: Principal): Promise<boolean> {
  if (principal.kind === 'user' && principal.scopes === undefined) {
    return await db.selectFrom('user_sessions').innerJoin('users', 'users.id', 'user_sessions.user_id').select('users.id')
      .where('user_sessions.id', '=', principal.tokenId ?? '').where('expires_at', '>', Date.now()).where('disabled_at', 'is', null).executeTakeFirst() !== undefined
  }
  const row = await db.selectFrom('tokens').select(['expires_at', 'revoked_at']).where('id', '=', principal.tokenId ?? '').executeTakeFirst()
  return row !== undefined && row.revoked_at === null && (row.expires_at === null || row.expires_at > Date.now())
}
