import { createHash } from 'node:crypto'
import type { On, Reference } from '@swarm/contract/endpoint.ts'
import { canonicalJson } from '@swarm/core/approvals/approval.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { DEFAULT_ORGANIZATION_ID, type Action } from '@swarm/core/policy/actions.ts'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { recordOutcome } from '../authorization/audit.ts'
import type { Authorization } from '../authorization/authorization.ts'
import { accountOf, INSTALLATION, type Resource, RESOLVERS, type ResolverName } from '../authorization/resources.ts'
import { isPerson } from '../authorization/rights.ts'
import type { Database } from '../db/database.ts'

/** Statuses and codes of errors that a request ended with, for the audit log. */
const codes = new WeakMap<FastifyRequest, string>()

/** Further entries of the audit log that a request made, beside its own. */
const further = new WeakMap<FastifyRequest, string[]>()

/**
 * Asks the policies about one more thing that a request does, which its content made necessary; written down like the first.
 * @throws DomainError `not_found`, `forbidden`, `approval_required`
 */
export async function requireAlso(authorization: Authorization, request: FastifyRequest, action: Action, resource: Resource): Promise<void> {
  const auditId = await authorization.require(request.principal, action, resource, { asked: { kind: resource.kind, id: resource.id }, ...requestOf(request, action) })
  if (auditId !== null) further.set(request, [...further.get(request) ?? [], auditId])
}

/** A request as the audit log and approvals keep it. */
function requestOf(request: FastifyRequest, action: Action): { via: string; correlationId: string; request: unknown } {
  const path = request.routeOptions.url ?? ''
  return { via: `${request.method} ${path}`, correlationId: request.id, request: { method: request.method, path, params: request.params, query: request.query, body: shownBody(action, request.body) } }
}

/** Notes the code of the error that a request is answered with. */
export function noteErrorCode(request: FastifyRequest, code: string): void {
  codes.set(request, code)
}

/**
 * Asks the policies about every request of a person, once its body is there and before anything of it is validated: who may
 * not do something learns nothing of how it is done. What is more than reading is written to the audit log first, and its
 * outcome after the answer.
 * @returns a promise for what is still being written, for the end of the server
 */
export function addAuthorization(app: FastifyInstance, db: Database, authorization: Authorization): { written: () => Promise<void> } {
  const writing = new Set<Promise<void>>()

  app.addHook('preValidation', async (request) => {
    const { principal } = request
    if (request.is404 || !isPerson(principal) || request.routeOptions.config.access?.includes('public')) return
    const { action, on } = request.routeOptions.config
    if (action === undefined || on === undefined) throw new TypeError(`${request.method} ${request.routeOptions.url ?? ''} does not say what persons do with it`)
    const found = await resourceOf(authorization, request, action, on)
    if (found === null) return
    request.resource = found.resource
    request.auditId = await authorization.require(principal, action, found.resource, {
      asked: found.asked, ...requestOf(request, action),
    })
  })

  app.addHook('onResponse', async (request, reply) => {
    const auditIds = [...request.auditId === null ? [] : [request.auditId], ...further.get(request) ?? []]
    if (auditIds.length === 0) return
    const outcome = { status: reply.statusCode, code: codes.get(request) ?? null, at: Date.now() }
    const write = db.write(async (trx) => { for (const id of auditIds) await recordOutcome(trx, id, outcome) })
      .catch((err: unknown) => { request.log.error({ err, auditIds }, 'the outcome of a request could not be written to the audit log') })
      .finally(() => { writing.delete(write) })
    writing.add(write)
    await write
  })
  return { written: async () => { await Promise.all(writing) } }
}

/** The body as an approval shows it: of what holds a secret only its digest, which stands for exactly this one. */
function shownBody(action: Action, body: unknown): unknown {
  if (body === undefined) return null
  return action.startsWith('secret:') || action.startsWith('account:') ? { sha256: createHash('sha256').update(canonicalJson(body)).digest('hex') } : body
}

/** What a request is about; null where its handler keeps to what the caller may see. */
async function resourceOf(authorization: Authorization, request: FastifyRequest, action: Action, on: On): Promise<{ resource: Resource; asked: { kind: string; id: string } } | null> {
  if (on === 'visible') return null
  if (on === 'installation') return { resource: INSTALLATION, asked: { kind: 'installation', id: '' } }
  if (on === 'account') return { resource: accountOf(request.principal.id), asked: { kind: 'account', id: request.principal.id } }
  return referred(authorization, request, action, on)
}

async function referred(authorization: Authorization, request: FastifyRequest, action: Action, on: Reference): Promise<{ resource: Resource; asked: { kind: string; id: string } } | null> {
  const named = (place: 'params' | 'query' | 'body' | 'headers', name: string): unknown => (request[place] as Record<string, unknown> | undefined | null)?.[name]
  const kind = typeof on.resource === 'string' ? on.resource : named('params', on.resource.named)
  if (typeof kind !== 'string' || !Object.hasOwn(RESOLVERS, kind)) throw new DomainError('invalid_input', { field: 'params', problem: 'it names no kind of thing' })
  const id = named(on.in, on.name) ?? (kind === 'organization' ? DEFAULT_ORGANIZATION_ID : undefined)
  if (id === undefined) {
    if (on.otherwise === 'visible') return null
    if (on.otherwise !== undefined) return referred(authorization, request, action, on.otherwise)
    throw new DomainError('invalid_input', { field: `${on.in}.${on.name}`, problem: `${on.in === 'headers' ? 'the header ' : `${on.in}.`}${on.name} is missing` })
  }
  if (typeof id !== 'string' || id.length > 200) throw new DomainError('invalid_input', { field: `${on.in}.${on.name}`, problem: `${on.in}.${on.name}: expected an id` })
  return { resource: await authorization.resolve(action, kind as ResolverName, id), asked: { kind, id } }
}
