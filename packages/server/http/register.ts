import type { Access, Endpoint } from '@swarm/contract/endpoint.ts'
import { ErrorBody } from '@swarm/contract/errors.ts'
import { PUBLIC_ROUTES } from '@swarm/contract/public-routes.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { withCorrelationId } from '../correlation.ts'
import type { Principal } from './tokens.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before anything of the request is read; `anonymous` on public routes. */
    principal: Principal
    /** Aborts when the client goes away or the server stops. */
    gone: AbortSignal
  }
  interface FastifyContextConfig {
    /** Kinds of principal that may call the route; admin alone unless given. Public ones are listed in contract/public-routes.ts. */
    access?: readonly Access[]
  }
}

/** What a handler gets; `params`, `query` and `body` are parsed by the endpoint's schemas. */
export interface Call<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> {
  readonly params: z.output<P>
  readonly query: z.output<Q>
  readonly body: z.output<B>
  readonly principal: Principal
  readonly correlationId: string
  /** Aborts when the client goes away or the server stops: a long poll answers at once with what it has. */
  readonly signal: AbortSignal
  readonly request: FastifyRequest
  readonly reply: FastifyReply
}

export interface RegisterOptions {
  /** Of this route alone; 1 MiB unless the settings say otherwise. */
  readonly bodyLimitBytes?: number
}

/** Anything that has the Fastify instance: the server's context.http. */
export interface HttpTarget { readonly app: FastifyInstance }

/**
 * Registers one endpoint. The handler's answer is checked against the endpoint's response schema, which also drops what it
 * does not name. A handler that streams sends through `reply` itself and returns it.
 * @throws TypeError when a public endpoint is not in contract/public-routes.ts, or the other way round
 */
export function register<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(
  http: HttpTarget, endpoint: Endpoint<P, Q, B, R>, handler: (call: Call<P, Q, B>) => Promise<z.output<R> | FastifyReply>, options: RegisterOptions = {},
): void {
  const isPublic = endpoint.access.includes('public')
  if (isPublic !== PUBLIC_ROUTES.has(`${endpoint.method} ${endpoint.path}`)) {
    throw new TypeError(`${endpoint.method} ${endpoint.path}: "public" and contract/public-routes.ts disagree`)
  }
  const status = endpoint.status ?? 200
  const errors = z.object(ErrorBody.shape).describe('What went wrong and what to do about it')
  http.app.route({
    method: endpoint.method,
    url: endpoint.path,
    config: { access: endpoint.access },
    ...(options.bodyLimitBytes === undefined ? {} : { bodyLimit: options.bodyLimitBytes }),
    schema: {
      summary: endpoint.summary,
      tags: [endpoint.tag],
      security: isPublic ? [] : [{ token: [] }],
      ...(endpoint.params ? { params: endpoint.params } : {}),
      ...(endpoint.query ? { querystring: endpoint.query } : {}),
      ...(endpoint.body ? { body: endpoint.body } : {}),
      response: { [status]: status === 204 ? z.void().describe('Done') : endpoint.response, '4xx': errors, '5xx': errors },
    },
    handler: (request, reply) => withCorrelationId(request.id, async () => {
      const result = await handler({
        params: request.params as z.output<P>, query: request.query as z.output<Q>, body: request.body as z.output<B>,
        principal: request.principal, correlationId: request.id, signal: request.gone, request, reply,
      })
      if (reply.sent || isReply(result, reply)) return reply
      reply.code(status)
      return status === 204 ? reply.send() : reply.send(result)
    }),
  })
}

function isReply(result: unknown, reply: FastifyReply): boolean {
  return result === reply
}

/**
 * Whether a principal is let through where `kind` is. A super_admin is an admin, and so is a key of theirs whose scope is everything.
 * The one place that says what a user may reach.
 */
function counts(principal: Principal, kind: Access): boolean {
  if (kind === 'admin' && principal.kind === 'user') return principal.superAdmin === true && (principal.scopes?.includes('*') ?? true)
  return kind === principal.kind
}

/** The principal when it is of one of these kinds. @throws DomainError `forbidden` */
export function requireAccess(principal: Principal, access: readonly Access[]): Principal {
  if (!access.some((kind) => counts(principal, kind))) throw new DomainError('forbidden', { needed: access.join(' or ') })
  return principal
}
