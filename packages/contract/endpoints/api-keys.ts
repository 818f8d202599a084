import { z } from 'zod'
import { SCOPES } from '@swarm/core/policy/actions.ts'
import { endpoint } from '../endpoint.ts'
import { pageOf, PageQuery, Time } from './shared.ts'

/* API keys: what a user hands to a program. Made and changed with a session only, so that a key that leaks makes no further ones. */

const user = { access: ['person'], action: 'account:secure', on: 'account', tag: 'accounts' } as const
const DAY_MS = 86_400_000

const KeyName = z.string().trim().min(1).max(100)
const Scopes = z.array(z.string().refine((scope) => SCOPES.includes(scope), '*, a group of actions, <resource>:* or <resource>:<verb>')).min(1).max(50)

export const ApiKey = z.object({
  id: z.string(), name: z.string(), scopes: z.array(z.string()), createdAt: Time, expiresAt: Time.nullable(), revokedAt: Time.nullable(),
  /** To the minute. */
  lastUsedAt: Time.nullable(),
})
export type ApiKey = z.infer<typeof ApiKey>
/** `token` is shown this once. */
const NewKey = ApiKey.extend({ token: z.string() })

export const listKeys = endpoint({ ...user, method: 'GET', path: '/api/auth/keys', summary: 'Lists the own API keys, newest first', query: PageQuery, response: pageOf(ApiKey) })
export const createKey = endpoint({
  ...user, shownOnce: true, method: 'POST', path: '/api/auth/keys', status: 201, summary: 'Makes an API key; its token is shown once', body: z.object({ name: KeyName, scopes: Scopes, expiresInMs: z.number().int().min(60_000).max(3_650 * DAY_MS).optional() }), response: NewKey,
})
const params = z.object({ keyId: z.string().max(40) })
export const rotateKey = endpoint({
  ...user, shownOnce: true, method: 'POST', path: '/api/auth/keys/:keyId/rotate', status: 201, summary: 'Makes a new key of the same name, scopes and life; the old one works on for the overlap', params, body: z.object({ overlapMs: z.number().int().min(0).max(30 * DAY_MS).default(DAY_MS) }), response: NewKey,
})
export const revokeKey = endpoint({ ...user, method: 'DELETE', path: '/api/auth/keys/:keyId', status: 204, summary: 'Revokes an API key at once', params, response: z.undefined() })
