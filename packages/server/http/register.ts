import type { Access, Endpoint, On } from '@swarm/contract/endpoint.ts'
import { ErrorBody } from '@swarm/contract/errors.ts'
import type { Authorization, VisibleProjects } from '../authorization/authorization.ts'
import { PUBLIC_ROUTES } from '@swarm/contract/public-routes.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Action } from '@swarm/core/policy/actions.ts'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { withCorrelationId } from '../correlation.ts'
import type { Resource } from '../authorization/resources.ts'
import { isPerson } from '../authorization/rights.ts'
import type { Principal } from './tokens.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before anything of the request is read; `anonymous` on public routes. */
    principal: Principal
    /** What the request is about, as the policies were asked; null for other callers than persons, and where it names nothing. */
    resource: Resource | null
    /** Entry of the audit log that this request made, or null. */
    auditId: string | null
    /** Aborts when the client goes away or the server stops. */
    gone: AbortSignal
  }
  interface FastifyContextConfig {
    /** Kinds of caller that the route is for; persons alone unless given. Public ones are listed in contract/public-routes.ts. */
    access?: readonly Access[]
    /** What policies are asked when a person calls, and about what; each route for persons has both. */
    action?: Action
    on?: On
    /** Its answer holds something that is shown only once, and is kept nowhere. */
    shownOnce?: boolean
  }
}

/** What a handler gets; `params`, `query` and `body` are parsed by the endpoint's schemas. */
export interface Call<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> {
  readonly params: z.output<P>
  readonly query: z.output<Q>
  readonly body: z.output<B>
  readonly principal: Principal
  /** The project that the request names, else all in which the caller may do what the endpoint is about: the answer keeps to them. */
  readonly projects: () => Promise<VisibleProjects>
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

/** What routes are registered with: the server's context.http. */
export interface HttpTarget { readonly app: FastifyInstance; readonly authorization: Authorization }

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
  if (endpoint.access.includes('person') !== (endpoint.action !== undefined && endpoint.on !== undefined)) {
    throw new TypeError(`${endpoint.method} ${endpoint.path}: an endpoint for persons says what action it is, on what, and no other does`)
  }
  const status = endpoint.status ?? 200
  const errors = z.object(ErrorBody.shape).describe('What went wrong and what to do about it')
  http.app.route({
    method: endpoint.method,
    url: endpoint.path,
    config: { access: endpoint.access, ...(endpoint.action === undefined ? {} : { action: endpoint.action }), ...(endpoint.on === undefined ? {} : { on: endpoint.on }), ...(endpoint.shownOnce === undefined ? {} : { shownOnce: endpoint.shownOnce }) },
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
        principal: request.principal, projects: async () => request.resource?.projectId ? [request.resource.projectId] : http.authorization.projectsFor(request.principal, endpoint.action ?? 'project:read'), correlationId: request.id, signal: request.gone, request, reply,
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

/** Refuses a caller that is of none of these kinds. @throws DomainError `wrong_caller` */
export function requireAccess(principal: Principal, access: readonly Access[]): void {
  const kind = isPerson(principal) ? 'person' : principal.kind
  if (!access.some((each) => each === kind)) throw new DomainError('wrong_caller', { kind: principal.kind, needed: access.join(' or ') })
}
