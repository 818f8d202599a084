import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { once } from 'node:events'
import { createClient } from '@swarm/contract/client.ts'
import { createKey } from '@swarm/contract/endpoints/api-keys.ts'
import { createProject, listProjects } from '@swarm/contract/endpoints/projects.ts'
import { endpoint } from '@swarm/contract/endpoint.ts'
import { createLiveTicket, health } from '@swarm/contract/endpoints/system.ts'
import { ErrorBody } from '@swarm/contract/errors.ts'
import { PUBLIC_ROUTES } from '@swarm/contract/public-routes.ts'
import { DomainError } from '@swarm/core/errors.ts'
import Fastify from 'fastify'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Feature } from '../context.ts'
import { eachDialect, sqlitePlace } from '../db/testing.ts'
import { appendEvents } from '../events/events.ts'
import { readSettled } from '../events/testing.ts'
import { person } from '../testing-people.ts'
import { startTestServer } from '../testing.ts'
import type { Http } from './http.ts'
import { register } from './register.ts'
import { unheardRoutes } from './testing.ts'
import { mintToken, revokeTokens } from './tokens.ts'

const echo = endpoint({
  method: 'POST', path: '/api/test/:name', access: ['person'], action: 'account:use', on: 'account', tag: 'test', summary: 'Echo',
  params: z.object({ name: z.string().regex(/^[a-z]+$/) }), query: z.object({ times: z.coerce.number().int().max(3).default(1) }),
  body: z.object({ inner: z.object({ title: z.string().min(1) }) }), response: z.object({ said: z.string(), kind: z.string() }),
})
const wait = endpoint({ method: 'GET', path: '/test/wait', access: ['runner'], tag: 'test', summary: 'Waits until told to stop', response: z.object({ ended: z.boolean() }) })
const failing = endpoint({
  method: 'GET', path: '/api/test/fail/:how', access: ['person'], action: 'account:use', on: 'account', tag: 'test', summary: 'Fails', params: z.object({ how: z.enum(['domain', 'bug', 'shape']) }), response: z.object({ fine: z.boolean() }),
})
const nothing = endpoint({ method: 'DELETE', path: '/api/test/nothing', access: ['person', 'attempt'], action: 'account:use', on: 'account', tag: 'test', summary: 'Nothing', response: z.undefined(), status: 204 })

const feature: Feature = ({ http, db }) => {
  register(http, echo, async ({ params, query, body, principal }) => {
    await db.write((trx) => appendEvents(trx, [{ type: 'test:echo', projectId: null, subject: { kind: 'test', id: params.name }, data: {} }]))
    return { said: `${body.inner.title} `.repeat(query.times).trim(), kind: principal.kind, secret: 'not in the contract' }
  })
  register(http, wait, async ({ signal }) => {
    if (!signal.aborted) await once(signal, 'abort')
    return { ended: true }
  })
  register(http, failing, async ({ params }) => {
    if (params.how === 'domain') throw new DomainError('stale_fence', { fence: 1, attemptId: 'ATT-1' })
    if (params.how === 'bug') throw new Error('the password is hunter2')
    return { fine: 'no' } as unknown as { fine: boolean }
  })
  register(http, nothing, async () => undefined)
}

/** What is wrong with the routes of a server from a stranger's view; nothing, if all is well. */
async function strangersView(http: Pick<Http, 'app' | 'routes'>): Promise<string[]> {
  const wrong: string[] = []
  const registered = new Set(http.routes.map(({ method, url }) => `${method} ${url}`))
  for (const listed of PUBLIC_ROUTES) if (!registered.has(listed)) wrong.push(`${listed} is listed and not registered`)
  for (const route of registered) {
    const [method, url] = route.split(' ') as ['GET', string]
    const { statusCode } = await http.app.inject({ method, url: url.replace(/:\w+/g, 'x').replaceAll('*', 'x') })
    if (PUBLIC_ROUTES.has(route) ? statusCode === 401 : statusCode !== 401) wrong.push(`${route} answers ${statusCode}`)
  }
  return wrong
}

eachDialect((dialect, make) => {
  test('a stranger gets 401 from every registered route that is not on the public list', async () => {
    await using place = await make()
    await using server = await startTestServer(place, { features: [feature] })
    expect(server.context.http.routes.length).toBeGreaterThan(15)
    expect(await strangersView(server.context.http)).toEqual([])
  })

  test('a stranger gets 401 before anything is validated, and for unknown routes and methods', async () => {
    await using place = await make()
    await using server = await startTestServer(place, { features: [feature] })
    for (const [method, path] of [['POST', '/api/test/UPPER'], ['GET', '/api/unknown'], ['OPTIONS', '/api/test/x'], ['TRACE', '/health'], ['GET', '/metrics'], ['GET', '/unknown']] as const) {
      const { statusCode, headers } = await server.context.http.app.inject({ method: method as 'GET', url: path, payload: method === 'POST' ? '{broken' : undefined, headers: { 'content-type': 'application/json' } })
      expect([path, statusCode, headers['www-authenticate']]).toEqual([path, 401, 'Bearer realm="swarm"'])
    }
    await expect(server.as('swarm_admin_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA').call(createLiveTicket)).rejects.toMatchObject({ status: 401, code: 'unauthenticated' })
  })

  test('an endpoint is called through its value, typed and checked on both sides', async () => {
    await using place = await make()
    await using server = await startTestServer(place, { features: [feature] })
    expect(await server.admin.call(echo, { params: { name: 'abc' }, query: { times: 2 }, body: { inner: { title: 'hi' } } })).toEqual({ said: 'hi hi', kind: 'admin' })
    expect(await server.admin.call(nothing)).toBeUndefined()
    const answer = await fetch(`${server.url}/api/test/abc`, { method: 'POST', headers: { authorization: `Bearer ${server.adminToken}`, 'content-type': 'application/json' }, body: '{"inner":{"title":"x"}}' })
    expect(await answer.json()).toEqual({ said: 'x', kind: 'admin' })
  })

  test('bad input is 400 and names the field; nothing happened', async () => {
    await using place = await make()
    await using server = await startTestServer(place, { features: [feature] })
    const { cursor: before } = await readSettled(server.context.db)
    await expect(server.admin.call(echo, { params: { name: 'abc' }, body: { inner: { title: '' } } })).rejects.toMatchObject({ status: 400, code: 'invalid_input', details: { field: 'body.inner.title' } })
    await expect(server.admin.call(echo, { params: { name: 'ABC' }, body: { inner: { title: 'x' } } })).rejects.toMatchObject({ details: { field: 'params.name' } })
    await expect(server.admin.call(echo, { params: { name: 'abc' }, query: { times: 9 }, body: { inner: { title: 'x' } } })).rejects.toMatchObject({ details: { field: 'query.times' } })
    const post = async (contentType: string, body: string) => {
      const response = await fetch(`${server.url}/api/test/abc`, { method: 'POST', headers: { authorization: `Bearer ${server.adminToken}`, 'content-type': contentType }, body })
      return [response.status, ErrorBody.parse(await response.json()).error.code]
    }
    expect(await post('application/json', '{broken')).toEqual([400, 'invalid_input'])
    expect(await post('application/json', '')).toEqual([400, 'invalid_input'])
    expect(await post('application/json', '{"__proto__":{"inner":{"title":"x"}}}')).toEqual([400, 'invalid_input'])
    expect(await post('text/xml', '<a/>')).toEqual([415, 'unsupported_media_type'])
    expect(await post('application/json', JSON.stringify({ inner: { title: 'x'.repeat(1_100_000) } }))).toEqual([413, 'body_too_large'])
    expect((await readSettled(server.context.db, before)).events).toEqual([])
  })

  test('errors become answers by their code, and what is inside of a fault stays in the log', async () => {
    await using place = await make()
    await using server = await startTestServer(place, { features: [feature] })
    await expect(server.admin.call(failing, { params: { how: 'domain' } })).rejects.toMatchObject({ status: 409, code: 'stale_fence', details: { fence: 1 }, remedy: expect.stringContaining('Stop work') as string })
    const bug = await server.admin.call(failing, { params: { how: 'bug' } }, { correlationId: 'bug-1234567' }).catch((error: unknown) => error)
    expect(bug).toMatchObject({ status: 500, code: 'internal', correlationId: 'bug-1234567' })
    expect(JSON.stringify(bug)).not.toContain('hunter2')
    expect(server.log.find((line) => line['level'] === 'error' && line['correlationId'] === 'bug-1234567')).toMatchObject({ err: { message: 'the password is hunter2' } })
    await expect(server.admin.call(failing, { params: { how: 'shape' } })).rejects.toMatchObject({ status: 500, code: 'response_invalid' })
    const unknown = await fetch(`${server.url}/api/none?x=1`, { headers: { authorization: `Bearer ${server.adminToken}` } })
    expect([unknown.status, ErrorBody.parse(await unknown.json()).error]).toMatchObject([404, { code: 'route_not_found', message: 'There is no GET /api/none.' }])
  })

  test('a token reaches only what its kind may, until it expires or is revoked', async () => {
    await using place = await make()
    await using server = await startTestServer(place, { features: [feature] })
    const { db } = server.context
    const attempt = await db.write((trx) => mintToken(trx, { kind: 'attempt', subjectId: 'ATT-1', fence: 3, expiresAt: Date.now() + 60_000 }))
    const expired = await db.write((trx) => mintToken(trx, { kind: 'attempt', subjectId: 'ATT-2', expiresAt: Date.now() - 1 }))
    expect(await server.as(attempt.token).call(nothing)).toBeUndefined()
    await expect(server.as(attempt.token).call(createLiveTicket)).rejects.toMatchObject({ status: 403, code: 'wrong_caller', details: { needed: 'person' } })
    await expect(server.as(expired.token).call(nothing)).rejects.toMatchObject({ status: 401 })
    const basic = await fetch(`${server.url}/api/test/nothing`, { method: 'DELETE', headers: { authorization: `Basic ${Buffer.from(`x:${attempt.token}`).toString('base64')}` } })
    expect(basic.status).toBe(204)
    expect(await db.write((trx) => revokeTokens(trx, { kind: 'attempt', subjectId: 'ATT-1' }))).toBe(1)
    await expect(server.as(attempt.token).call(nothing)).rejects.toMatchObject({ status: 401 })
    const rows = await db.read.selectFrom('tokens').selectAll().execute()
    expect(JSON.stringify(rows)).not.toContain(attempt.token.slice(-43))
  })

  test('a correlation id comes back, is logged and goes into events; a bad one is replaced', async () => {
    await using place = await make()
    await using server = await startTestServer(place, { features: [feature] })
    const { cursor: before } = await readSettled(server.context.db)
    await server.admin.call(echo, { params: { name: 'abc' }, body: { inner: { title: 'x' } } }, { correlationId: 'mine-12345678' })
    expect((await readSettled(server.context.db, before)).events[0]?.correlationId).toBe('mine-12345678')
    expect(server.log.some((line) => line['msg'] === 'request' && line['correlationId'] === 'mine-12345678' && line['route'] === '/api/test/:name')).toBe(true)
    const bad = await fetch(`${server.url}/health`, { headers: { 'x-correlation-id': 'no spaces "allowed"' } })
    expect(bad.headers.get('x-correlation-id')).toMatch(/^[0-9a-f-]{36}$/)
  })

  test('health tells the version and the migration; metrics are for admins', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    expect(await server.as().call(health)).toMatchObject({ status: 'ok', database: { dialect } })
    const metrics = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${server.adminToken}` } })
    expect(await metrics.text()).toContain('swarm_http_request_seconds_bucket{')
  })

  test('the first start makes one admin token in a 0600 file, and later starts keep it', async () => {
    await using place = await make()
    const path = join(place.home, 'admin-token')
    let first: string
    {
      await using server = await startTestServer(place)
      first = server.adminToken
      expect(statSync(path).mode & 0o777).toBe(0o600)
      expect(JSON.stringify(server.log)).not.toContain(first)
    }
    {
      await using server = await startTestServer(place)
      expect(server.adminToken).toBe(first)
      await server.admin.call(createLiveTicket)
    }
    // Stopped between the file and the row: the next start mends it.
    writeFileSync(path, 'swarm_admin_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB\n')
    {
      await using db = await place.open()
      await db.write((trx) => trx.deleteFrom('tokens').execute())
    }
    await using server = await startTestServer(place)
    await server.admin.call(createLiveTicket)
    expect(readFileSync(path, 'utf8')).toContain(server.adminToken)
  })
})

describe('whatever the database', () => {
  const make = sqlitePlace

  test('an unlisted public route is found by the stranger, and refused by register', async () => {
    const app = Fastify()
    app.get('/api/planted', async () => 'hello')
    const wrong = await strangersView({ app, routes: [{ method: 'GET', url: '/api/planted' }] })
    expect(wrong).toContain('GET /api/planted answers 200')
    await using place = await make()
    await using db = await place.open()
    const unheard = unheardRoutes(db)
    const planted = endpoint({ method: 'GET', path: '/api/planted', access: ['public'], tag: 'test', summary: 'x', response: z.string() })
    expect(() => register(unheard, planted, async () => 'hello')).toThrow(/public-routes/)
    const hidden = endpoint({ method: 'GET', path: '/health', access: ['person'], action: 'account:use', on: 'account', tag: 'test', summary: 'x', response: z.string() })
    expect(() => register(unheard, hidden, async () => 'hello')).toThrow(/public-routes/)
    await app.close()
  })

  test('too many requests are 429 with standard headers, counted for each principal by itself', async () => {
    await using place = await make()
    await using server = await startTestServer(place, { features: [feature], settings: { 'http.ratePerMinute.anonymous': 3, 'http.ratePerMinute.admin': 5 } })
    const statuses = await Promise.all(Array.from({ length: 5 }, async () => (await fetch(`${server.url}/api/x`)).status))
    expect(statuses.sort()).toEqual([401, 401, 401, 429, 429])
    for (let index = 0; index < 5; index += 1) await server.admin.call(nothing)
    await expect(server.admin.call(nothing)).rejects.toMatchObject({ status: 429, code: 'rate_limited', retryAfterMs: expect.any(Number) as number })
    const limited = await fetch(`${server.url}/api/test/nothing`, { method: 'DELETE', headers: { authorization: `Bearer ${server.adminToken}` } })
    expect(limited.headers.get('ratelimit-limit')).toBe('5')
    expect(limited.headers.get('ratelimit-remaining')).toBe('0')
    expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0)
  })

  test('a long poll is told when the server stops, and when its client goes', async () => {
    await using place = await make()
    const server = await startTestServer(place, { features: [feature] })
    const { token } = await server.context.db.write((trx) => mintToken(trx, { kind: 'runner', subjectId: 'RUN-1' }))
    const gone = new AbortController()
    const left = server.as(token).call(wait, undefined, { signal: gone.signal, correlationId: 'left-12345678' })
    const stays = server.as(token).call(wait)
    await expect.poll(async () => new Promise((resolve) => { server.context.http.app.server.getConnections((_, count) => resolve(count)) })).toBeGreaterThanOrEqual(2)
    gone.abort()
    await expect(left).rejects.toThrow()
    await expect.poll(() => server.log.some((line) => line['correlationId'] === 'left-12345678')).toBe(true)
    const closed = server[Symbol.asyncDispose]()
    expect(await stays).toEqual({ ended: true })
    await closed
  })

  test('a client that leaves in the middle of what it sends is no failure of ours', async () => {
    await using place = await make()
    await using server = await startTestServer(place, { features: [feature] })
    const request = httpRequest(`${server.url}/api/test/x?times=1`, { method: 'POST', headers: { authorization: `Bearer ${server.adminToken}`, 'content-type': 'application/json', 'content-length': '100' } })
    request.on('error', () => undefined)
    request.write('{')
    await expect.poll(async () => new Promise((resolve) => { server.context.http.app.server.getConnections((_, count) => resolve(count)) })).toBe(1)
    request.destroy()
    await expect.poll(() => server.log.some(({ msg }) => msg === 'the client left before its request was answered')).toBe(true)
    expect(server.log.filter(({ level }) => level === 'error')).toEqual([])
  })

  test('a request that never ends is cut at the deadline', async () => {
    await using place = await make()
    const stuck: Feature = ({ http }) => { http.app.get('/api/stuck', { config: { access: ['person'], action: 'account:use', on: 'account' } }, async () => new Promise<never>(() => undefined)) }
    const server = await startTestServer(place, { features: [stuck], settings: { 'http.closeDeadlineMs': 100 } })
    const request = httpRequest(`${server.url}/api/stuck`, { headers: { authorization: `Bearer ${server.adminToken}` } }).end()
    const broken = once(request, 'error')
    await expect.poll(async () => new Promise((resolve) => { server.context.http.app.server.getConnections((_, count) => resolve(count)) })).toBe(1)
    await server[Symbol.asyncDispose]()
    expect(await broken).toMatchObject([{ code: 'ECONNRESET' }])
  })

  test('the OpenAPI document is 3.1 and holds every endpoint; its page loads nothing from elsewhere', async () => {
    await using place = await make()
    await using server = await startTestServer(place, { features: [feature] })
    const document = await (await fetch(`${server.url}/openapi.json`)).json() as { openapi: string, paths: Record<string, Record<string, { parameters?: unknown[], requestBody?: unknown }>> }
    expect(document.openapi).toBe('3.1.0')
    expect(document.paths['/api/test/{name}']?.['post']).toMatchObject({ summary: 'Echo', security: [{ token: [] }], parameters: [{ in: 'query', name: 'times' }, { in: 'path', name: 'name' }] })
    expect(document.paths['/api/test/nothing']?.['delete']).toMatchObject({ responses: { 204: { description: 'Done' } } })
    expect(document.paths['/metrics']).toBeUndefined()
    const page = await fetch(`${server.url}/reference/`)
    expect(await page.text()).not.toMatch(/https?:\/\//)
    expect(page.headers.get('content-security-policy')).toContain("connect-src 'self'")
    expect((await fetch(`${server.url}/reference/js/scalar.js`)).headers.get('content-type')).toContain('javascript')
  })

  test('no server at the address is an error that says so', async () => {
    await expect(createClient({ baseUrl: 'http://127.0.0.1:1' }).call(health)).rejects.toMatchObject({ code: 'server_unreachable' })
  })

  test('a home folder without a token of this database leaves the tokens there alone', async () => {
    await using place = await make()
    { await using server = await startTestServer(place); expect(server.adminToken).toMatch(/^swarm_admin_/) }
    rmSync(join(place.home, 'admin-token'))
    await expect(startTestServer(place)).rejects.toThrow(/ENOENT/)
  })
})

test('reading and changing are counted apart for a user, over all that they signed in with, and the headers say how much is left', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place, { settings: { 'http.ratePerMinute.userWrite': 2 } })
  const someone = await person(server, 'USR-LIMITED0', 'admin')
  const key = await someone.call(createKey, { body: { name: 'second hand', scopes: ['*'] } })
  const create = (token: string, slug: string) => fetch(`${server.url}/api/projects`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: JSON.stringify({ slug }) })
  const second = await create(key.token, 'one')
  expect([second.status, second.headers.get('ratelimit-limit'), second.headers.get('ratelimit-remaining')]).toEqual([201, '2', '0'])
  const third = await create(someone.token, 'two')
  expect([third.status, Number(third.headers.get('retry-after')) > 0]).toEqual([429, true])
  expect((await someone.call(listProjects)).items).toMatchObject([{ slug: 'one' }])
})

test('a POST with an idempotency key is carried out once, whoever repeats it; what is shown once is not kept', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const [one, other] = [await person(server, 'USR-ONE00000', 'admin'), await person(server, 'USR-OTHER000', 'admin')]
  const create = (who: { token: string }, slug: string, key: string) => fetch(`${server.url}/api/projects`, { method: 'POST', headers: { authorization: `Bearer ${who.token}`, 'content-type': 'application/json', 'idempotency-key': key }, body: JSON.stringify({ slug }) })
  const racing = await Promise.all([create(one, 'shop', 'k1'), create(one, 'shop', 'k1'), create(one, 'shop', 'k1')])
  expect(racing.map(({ status }) => status).filter((status) => status === 201).length).toBeGreaterThan(0)
  for (const answer of racing) expect([201, 409]).toContain(answer.status)
  const again = await create(one, 'shop', 'k1')
  expect([again.status, again.headers.get('idempotency-replayed'), (await again.json() as { slug: string }).slug]).toEqual([201, 'true', 'shop'])
  expect((await create(one, 'other', 'k1')).status).toBe(422)
  // Keys are each person's own, and a refusal keeps none.
  expect((await create(other, 'shop', 'k1')).status).toBe(409)
  expect((await create(other, 'second', 'k1')).status).toBe(201)
  const keys = () => fetch(`${server.url}/api/auth/keys`, { method: 'POST', headers: { authorization: `Bearer ${one.token}`, 'content-type': 'application/json', 'idempotency-key': 'k2' }, body: JSON.stringify({ name: 'ci', scopes: ['*'] }) })
  const { token } = await (await keys()).json() as { token: string }
  expect(await (await keys()).json()).toMatchObject({ error: { code: 'idempotency_shown_once' } })
  const { ticket } = await (await fetch(`${server.url}/api/system/live-tickets`, { method: 'POST', headers: { authorization: `Bearer ${one.token}`, 'idempotency-key': 'k3' } })).json() as { ticket: string }
  const kept = JSON.stringify(await server.context.db.read.selectFrom('idempotency_keys').selectAll().execute())
  for (const once of [token, ticket]) expect(kept).not.toContain(once)
})

test('an edit of what was changed meanwhile is refused, and changes nothing', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const project = await server.admin.call(createProject, { body: { slug: 'shop' } })
  const url = `${server.url}/api/projects/${project.id}`
  const headers = { authorization: `Bearer ${server.adminToken}`, 'content-type': 'application/json' }
  const etag = (await fetch(url, { headers })).headers.get('etag') ?? ''
  const edit = (name: string) => fetch(url, { method: 'PATCH', headers: { ...headers, 'if-match': etag }, body: JSON.stringify({ name }) })
  expect((await edit('First')).status).toBe(200)
  const late = await edit('Second')
  expect([late.status, (await late.json() as { error: { code: string } }).error.code]).toEqual([412, 'changed_meanwhile'])
  expect((await server.admin.call(listProjects)).items).toMatchObject([{ name: 'First' }])
})
