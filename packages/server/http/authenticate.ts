import { PUBLIC_ROUTES } from '@swarm/contract/public-routes.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { parseJson } from '@swarm/core/json.ts'
import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Database } from '../db/database.ts'
import { credentialOf } from './credentials.ts'
import { requireAccess } from './register.ts'
import { isSameOrigin } from './same-origin.ts'
import { ANONYMOUS, consumeToken, verifyToken, type Principal } from './tokens.ts'

/** Requests per minute for each principal of a kind; strangers are counted by address, and requests of users that may change something by themselves. */
export type RateLimits = Readonly<Record<Principal['kind'] | 'userWrite', number>>

/** Path of live connections: the only one that takes a ticket from its query, since browsers send no headers there. */
export const LIVE_PATH = '/ws'

/** Set by the feature that knows users: who a session's cookie or token, or an API key, is of. */
export interface UserDoor { identifyUser?: (headers: IncomingHttpHeaders) => Promise<Principal | null> }

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

const rateClass = ({ method, principal }: FastifyRequest): keyof RateLimits => principal.kind === 'user' && !SAFE_METHODS.has(method) ? 'userWrite' : principal.kind

/**
 * First thing of every request, before its body is read: who calls (401), how often (429), and whether the route is for
 * that kind of caller (403). Closed by default: an unknown route is 401 to a stranger, and 404 only to somebody known.
 */
export function addAuthentication(app: FastifyInstance, db: Database, limits: RateLimits, users: UserDoor, publicUrl: string | undefined): void {
  const check = app.createRateLimit({
    timeWindow: 60_000,
    max: (request) => limits[rateClass(request)],
    // All that a user has in hand counts together: a second key is no second allowance.
    keyGenerator: (request) => request.principal.kind === 'user' ? `${rateClass(request)}:${request.principal.id}` : request.principal.tokenId ?? `address:${request.ip}`,
  })

  async function limitRate(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const state = await check(request)
    if (state.isAllowed) return
    reply.header('ratelimit-limit', state.max).header('ratelimit-remaining', state.remaining).header('ratelimit-reset', state.ttlInSeconds)
    if (!state.isExceeded) return
    reply.header('retry-after', state.ttlInSeconds)
    throw new DomainError('rate_limited', { retryAfterSeconds: state.ttlInSeconds })
  }

  async function identify(request: FastifyRequest): Promise<Principal | null> {
    const token = credentialOf(request.headers)
    const user = await users.identifyUser?.(request.headers)
    if (user) return user
    if (token !== undefined) {
      const principal = await verifyToken(db.read, token)
      return principal?.kind === 'user' ? null : principal
    }
    if (request.routeOptions.url !== LIVE_PATH) return null
    const { ticket } = request.query as { ticket?: unknown }
    return typeof ticket === 'string' && ticket.startsWith('swarm_live_') ? holderOf(await db.write((trx) => consumeToken(trx, ticket))) : null
  }

  /** A browser sends its cookie, and makes simple requests, for pages of any site: what changes something must come from one of ours. */
  function refuseOtherSites(request: FastifyRequest, isPublic: boolean): void {
    if (SAFE_METHODS.has(request.method) && request.headers.upgrade === undefined) return
    const byCookie = request.principal.kind === 'user' && credentialOf(request.headers) === undefined
    const fromBrowser = request.headers.origin !== undefined || request.headers['sec-fetch-site'] !== undefined
    if ((byCookie || (isPublic && fromBrowser)) && !isSameOrigin(request.headers, request.host, publicUrl)) throw new DomainError('csrf')
  }

  app.addHook('onRequest', async (request, reply) => {
    const isPublic = PUBLIC_ROUTES.has(`${request.method} ${request.routeOptions.url ?? ''}`)
    const principal = isPublic ? ANONYMOUS : await identify(request)
    request.principal = principal ?? ANONYMOUS
    await limitRate(request, reply)
    refuseOtherSites(request, isPublic)
    if (isPublic) return
    if (!principal) throw new DomainError('unauthenticated')
    // A ticket opens a live connection, and is no credential anywhere else.
    if (principal.kind === 'live') throw new DomainError('unauthenticated')
    if (!request.is404) requireAccess(principal, request.routeOptions.config.access ?? ['person'])
  })
}

/** What a ticket for a live connection is made out to. */
export function ticketSubject({ kind, id, tokenId, scopes }: Principal): string {
  return JSON.stringify({ kind, id, tokenId, ...(scopes === undefined ? {} : { scopes }) })
}

/** Who asked for the ticket: the connection lives no longer than their credentials. */
function holderOf(ticket: Principal | null): Principal | null {
  return ticket === null ? null : Holder.parse(parseJson(ticket.id))
}
const Holder = z.object({ kind: z.enum(['admin', 'user']), id: z.string(), tokenId: z.string().nullable(), scopes: z.array(z.string()).optional() })
