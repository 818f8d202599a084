import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { createTicket } from '@swarm/contract/endpoints/tickets.ts'
import { ErrorBody } from '@swarm/contract/errors.ts'
import { registerRunner } from '@swarm/contract/runner-protocol.ts'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sqlitePlace } from '../db/testing.ts'
import { startTestServer } from '../testing.ts'
import { mintToken } from './tokens.ts'

/** What the OpenAPI document says of a value, as far as it is used to make some. */
interface Schema {
  type?: string | string[]; enum?: unknown[]; const?: unknown; anyOf?: Schema[]; oneOf?: Schema[]; allOf?: Schema[]
  properties?: Record<string, Schema>; required?: string[]; items?: Schema; minimum?: number; maximum?: number; minLength?: number; maxLength?: number; pattern?: string
}
interface Operation {
  parameters?: { name: string; in: string; schema: Schema }[]
  requestBody?: { content: Record<string, { schema: Schema }> }
}

/** Values that programs stumble over. */
const JUNK: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(null, '', ' ', 'null', '0', '-1', 0, -1, 1e308, 2 ** 53, 0.5, true, [], {}, '\u0000', '\ud800', '😀'.repeat(50), 'x'.repeat(5_000), '../../etc/passwd', '%00', "'; drop table tickets; --", '${jndi:x}', '=cmd()', '__proto__', 'constructor'),
  fc.jsonValue({ maxDepth: 3 }), fc.string({ unit: 'binary', maxLength: 30 }),
  fc.constant(JSON.parse('{"__proto__":{"admin":true},"constructor":{"prototype":{}}}') as unknown),
)

/** Mostly what the schema asks for, with the ids that exist; here and there something else. */
function likely(schema: Schema, name: string, ids: Readonly<Record<string, string>>): fc.Arbitrary<unknown> {
  const of = (): fc.Arbitrary<unknown> => {
    if (schema.const !== undefined) return fc.constant(schema.const)
    if (schema.enum) return fc.constantFrom(...schema.enum)
    const some = schema.anyOf ?? schema.oneOf ?? schema.allOf
    if (some) return fc.oneof(...some.map((each) => likely(each, name, ids)))
    const [type] = [schema.type ?? 'string'].flat()
    if (type === 'object') {
      const properties = Object.entries(schema.properties ?? {})
      const required = new Set(schema.required)
      return fc.record(Object.fromEntries(properties.map(([key, value]) => [key, likely(value, key, ids)])), { requiredKeys: properties.map(([key]) => key).filter((key) => required.has(key)) })
    }
    if (type === 'array') return fc.array(likely(schema.items ?? {}, name, ids), { maxLength: 3 })
    if (type === 'integer') return fc.integer({ min: Math.max(schema.minimum ?? -5, -(2 ** 31)), max: Math.min(schema.maximum ?? 1_000, 2 ** 31 - 1) })
    if (type === 'number') return fc.double({ noNaN: true, min: -1e6, max: 1e6 })
    if (type === 'boolean') return fc.boolean()
    if (type === 'null') return fc.constant(null)
    const known = ids[name]
    return fc.oneof(...(known === undefined ? [] : [{ weight: 6, arbitrary: fc.constant(known) }]), { weight: 2, arbitrary: fc.string({ minLength: Math.min(schema.minLength ?? 0, 20), maxLength: 20 }) }, { weight: 1, arbitrary: fc.constantFrom('shop', 'a-b', 'TKT-00000000', 'PRJ-00000000') })
  }
  return fc.oneof({ weight: 9, arbitrary: of() }, { weight: 1, arbitrary: JUNK })
}

/** Routes whose answer is a stream or a long poll, and what makes them answer at once. */
const WAITS = new Set(['/claim', '/upcoming', '/operations'])

test('every route that is registered answers any input with no fault of ours, in time, and a refusal has written nothing', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place, { settings: { 'http.ratePerMinute.runner': 1_000_000, 'http.ratePerMinute.attempt': 1_000_000 } })
  const project = await server.admin.call(createProject, { body: { slug: 'shop' } })
  const repository = await server.admin.call(createRepository, { body: { projectId: project.id, slug: 'shop' } })
  const ticket = await server.admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'One', agent: 'developer' } })
  const runner = await server.admin.call(registerRunner, { body: { name: 'fuzzed' } })
  const attempt = await server.context.db.write((trx) => mintToken(trx, { kind: 'attempt', subjectId: 'ATT-00000000', fence: 1 }))
  const ids: Record<string, string> = {
    projectId: project.id, repositoryId: repository.id, ticketId: ticket.id, project: 'shop', repo: 'shop', organizationId: 'default', name: 'developer', agent: 'developer', slug: 'shop', runnerId: runner.id,
    dependsOn: ticket.id, kind: 'ticket', id: ticket.id, policyId: 'merge-needs-a-person', service: 'git-upload-pack', model: 'claude-sonnet-4-5',
  }
  const { paths } = await (await fetch(`${server.url}/openapi.json`)).json() as { paths: Record<string, Record<string, Operation>> }
  const listed = Object.entries(paths).flatMap(([path, operations]) => Object.entries(operations).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })))

  // The document leaves nothing out: what is not in it is the document itself, its page, metrics, and what speaks WebSocket.
  const registered = server.context.http.routes.filter(({ method }) => method !== 'HEAD').map(({ method, url }) => `${method} ${url.replace(/:(\w+)/g, '{$1}').replace(/\*$/, '')}`)
  const documented = new Set(listed.map(({ method, path }) => `${method} ${path}`))
  expect(registered.filter((route) => !documented.has(route)).filter((route) => !/^GET \/(openapi\.json|reference.*|metrics|ws|api\/vms\/\{vmId\}\/exec|operations\/\{operationId\}\/stream)$/.test(route))).toEqual([])

  const faults: string[] = []
  const tokens = { person: server.adminToken, runner: runner.token, attempt: attempt.token }
  for (const { path, method, operation } of listed) {
    const parameters = operation.parameters ?? []
    const placed = (place: string) => fc.record(Object.fromEntries(parameters.filter((each) => each.in === place).map((each) => [each.name, likely(each.schema, each.name, ids)])), { requiredKeys: place === 'path' ? undefined as never : [] })
    const content = operation.requestBody?.content['application/json']?.schema
    const body = content === undefined ? fc.constant(undefined) : fc.oneof({ weight: 8, arbitrary: likely(content, 'body', ids) }, { weight: 1, arbitrary: JUNK })
    const holder: keyof typeof tokens = path.startsWith('/api/') || path.startsWith('/git/') ? 'person' : path.startsWith('/model') ? 'attempt' : 'runner'
    await fc.assert(fc.asyncProperty(placed('path'), placed('query'), body, fc.integer({ min: 0, max: 20 }), async (params, query, payload, how) => {
      const url = path.replace(/\{(\w+)\}/g, (_, name: string) => {
        const value = (params as Record<string, unknown>)[name]
        return how === 3 ? '%zz' : encodeURIComponent((typeof value === 'string' ? value : JSON.stringify(value) ?? '').toWellFormed()) || '-'
      })
      const search = new URLSearchParams(Object.fromEntries(Object.entries(query as Record<string, unknown>).map(([key, value]) => [key, (typeof value === 'string' ? value : JSON.stringify(value)).toWellFormed()])))
      const raw = payload === undefined ? undefined : how === 0 ? '{"half":' : WAITS.has(path) ? JSON.stringify({ ...payload as object, waitMs: 0 }) : JSON.stringify(payload)
      const answer = await fetch(`${server.url}${url}?${search}`, {
        method, signal: AbortSignal.timeout(8_000),
        headers: { authorization: `Bearer ${tokens[holder]}`, ...(raw === undefined ? {} : { 'content-type': how === 1 ? 'text/plain' : 'application/json' }), ...(how === 2 ? { 'idempotency-key': 'k'.repeat(300), 'if-match': 'x' } : {}) },
        ...(raw === undefined ? {} : { body: raw }),
      }).catch((error: unknown) => `no answer: ${String(error)}`)
      const what = `${method} ${url.slice(0, 200)}?${search.toString().slice(0, 300)} ${raw?.slice(0, 300) ?? ''}`
      if (typeof answer === 'string') return void faults.push(`${what}: ${answer}`)
      const text = await answer.text()
      // No model is set up here.
      if (answer.status >= 500 && !text.includes('model_not_configured')) faults.push(`${what}: ${answer.status} ${text.slice(0, 300)}`)
      if (/\n\s+at .*:\d+:\d+|node_modules|\/packages\/server/.test(text)) faults.push(`${what}: a stack trace: ${text.slice(0, 300)}`)
      if (answer.status < 400) return
      if (!path.startsWith('/model') && !ErrorBody.safeParse(JSON.parse(text)).success) faults.push(`${what}: not an error of ours: ${text.slice(0, 300)}`)
      const written = await server.context.db.read.selectFrom('events').select('type').where('correlation_id', '=', answer.headers.get('x-correlation-id') ?? 'none').execute()
      if (written.length > 0) faults.push(`${what}: ${answer.status}, but it wrote ${written.map(({ type }) => type).join(', ')}`)
    }), { numRuns: 15 })
  }
  expect(faults, JSON.stringify(server.log.filter(({ level }) => level === 'error').slice(0, 3), null, 1)).toEqual([])
}, 180_000)
