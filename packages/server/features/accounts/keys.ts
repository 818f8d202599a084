import * as endpoints from '@swarm/contract/endpoints/api-keys.ts'
import type { ApiKey } from '@swarm/contract/endpoints/api-keys.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { z } from 'zod'
import { rightsChanged } from '../../authorization/rights.ts'
import type { Context } from '../../context.ts'
import { fromJson } from '../../db/json.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { byCreation, page, readPosition } from '../../http/pages.ts'
import { register } from '../../http/register.ts'
import { mintToken } from '../../http/tokens.ts'
import { keyOf, keyPage, type TokenRow } from './queries.ts'
import { actor, sessionOf, userEvent, type Act } from './service.ts'

const Scopes = z.array(z.string())

function present(row: TokenRow): ApiKey {
  return { id: row.id, name: row.name ?? '', scopes: fromJson(Scopes, row.scopes ?? '[]'), createdAt: row.created_at, expiresAt: row.expires_at, revokedAt: row.revoked_at, lastUsedAt: row.last_used_at }
}

async function make(trx: Trx, key: { userId: string; name: string; scopes: readonly string[]; lifeMs: number | undefined }, act: Act): Promise<ApiKey & { token: string }> {
  const { token, tokenId } = await mintToken(trx, { kind: 'key', subjectId: key.userId, name: key.name, scopes: key.scopes, ...(key.lifeMs === undefined ? {} : { expiresAt: act.now + key.lifeMs }) })
  await appendEvents(trx, [userEvent('key:created', key.userId, act, { keyId: tokenId, name: key.name, scopes: key.scopes })])
  const row = await keyOf(trx, key.userId, tokenId)
  if (!row) throw new Error('the key that was just made is not there')
  return { ...present(row), token }
}

export function registerKeys({ http, db, clock }: Context): void {
  register(http, endpoints.listKeys, async ({ query, principal }) => page(await keyPage(db.read, sessionOf(principal).userId, readPosition(query.cursor), query.limit + 1), query.limit, present, byCreation))

  register(http, endpoints.createKey, async ({ body, principal, correlationId }) => {
    const { userId } = sessionOf(principal)
    return db.write((trx) => make(trx, { userId, name: body.name, scopes: body.scopes, lifeMs: body.expiresInMs }, { by: actor(principal), now: clock(), correlationId }))
  })

  register(http, endpoints.rotateKey, async ({ params, body, principal, correlationId }) => {
    const { userId } = sessionOf(principal)
    const act: Act = { by: actor(principal), now: clock(), correlationId }
    return db.write(async (trx) => {
      const old = await active(trx, userId, params.keyId, act.now)
      // Only once: its overlap is for those who still use it, not for a second successor.
      if (old.replaced_by !== null) throw new DomainError('key_not_active', { id: old.id })
      const made = await make(trx, { userId, name: old.name ?? '', scopes: fromJson(Scopes, old.scopes ?? '[]'), lifeMs: old.expires_at === null ? undefined : old.expires_at - old.created_at }, act)
      const expiresAt = Math.min(old.expires_at ?? Infinity, act.now + body.overlapMs)
      await trx.updateTable('tokens').set({ expires_at: expiresAt, replaced_by: made.id }).where('id', '=', old.id).execute()
      await appendEvents(trx, [userEvent('key:rotated', userId, act, { keyId: old.id, nextKeyId: made.id, expiresAt })])
      return made
    })
  })

  register(http, endpoints.revokeKey, async ({ params, principal, correlationId }) => {
    const { userId } = sessionOf(principal)
    const act: Act = { by: actor(principal), now: clock(), correlationId }
    await db.write(async (trx) => {
      const key = await active(trx, userId, params.keyId, act.now)
      await trx.updateTable('tokens').set({ revoked_at: act.now }).where('id', '=', key.id).execute()
      await appendEvents(trx, [userEvent('key:revoked', userId, act, { keyId: key.id })])
      await rightsChanged(trx, { userId })
    })
    return undefined
  })
}

/** Locked on PostgreSQL. @throws DomainError `not_found`, `key_not_active` */
async function active(trx: Trx, userId: string, keyId: string, now: number): Promise<TokenRow> {
  const row = await keyOf(trx, userId, keyId)
  if (!row) throw new DomainError('not_found', { kind: 'key', id: keyId })
  if (row.revoked_at !== null || (row.expires_at !== null && row.expires_at <= now)) throw new DomainError('key_not_active', { id: keyId })
  return row
}
