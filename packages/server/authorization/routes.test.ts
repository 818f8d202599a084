import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { createTicket } from '@swarm/contract/endpoints/tickets.ts'
import { PUBLIC_ROUTES } from '@swarm/contract/public-routes.ts'
import { registerRunner } from '@swarm/contract/runner-protocol.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { sqlitePlace } from '../db/testing.ts'
import { enterRoom } from '../live/rooms.ts'
import { person } from '../testing-people.ts'
import { startTestServer, type TestServer } from '../testing.ts'

/** The weakest who may call a route: anybody (`public`), anybody who has signed in (`own`: about themselves, or what they may see), a role, or only a runner, attempt or check (`machine`). */
type Least = 'public' | 'own' | 'viewer' | 'developer' | 'admin' | 'super_admin' | 'machine'

/** Every route of the server. A new one fails the test until it has its row here. */
const ROUTES: Readonly<Record<Least, string>> = {
  public: `
    GET /health  GET /openapi.json  GET /reference  GET /reference/  GET /reference/js/scalar.js
    GET /api/auth/callback/github  POST /api/auth/device/code  POST /api/auth/device/token  GET /api/auth/github  POST /api/auth/invitations/redeem  POST /api/auth/invitations/show
    POST /api/auth/password/forgot  POST /api/auth/password/reset  POST /api/auth/register  GET /api/auth/sign-in  POST /api/auth/sign-in  POST /api/auth/sign-in/two-factor`,
  own: `
    GET /api/auth/device  POST /api/auth/device/decision  POST /api/auth/invitations/accept  GET /api/auth/keys  POST /api/auth/keys  DELETE /api/auth/keys/:keyId  POST /api/auth/keys/:keyId/rotate
    GET /api/auth/me  PATCH /api/auth/me  GET /api/auth/organizations  POST /api/auth/organizations  POST /api/auth/password/change  GET /api/auth/sessions  DELETE /api/auth/sessions/:loginId
    POST /api/auth/sessions/revoke-others  POST /api/auth/sign-out  POST /api/auth/two-factor/backup-codes  POST /api/auth/two-factor/confirm  POST /api/auth/two-factor/disable  POST /api/auth/two-factor/enable
    GET /api/agents  GET /api/agents/:name  GET /api/runners  GET /api/runners/:runnerId  GET /api/system/about  GET /api/system/evidence-keys  GET /api/system/model  POST /api/system/live-tickets  GET /ws
    GET /api/changes  GET /api/checks  GET /api/hitl/approvals  GET /api/hitl/sessions  POST /api/hitl/specs/check  GET /api/projects  GET /api/repositories  GET /api/tickets  GET /api/tickets/counts
    GET /api/tickets/questions  POST /api/tickets/retry  GET /api/usage  GET /api/usage/export  GET /api/views  POST /api/views  GET /api/views/:viewId  PATCH /api/views/:viewId  DELETE /api/views/:viewId  GET /api/vms`,
  viewer: `
    GET /api/attempts/:attemptId/recording  GET /api/attempts/:attemptId/recording/:callId  GET /api/auth/organizations/:organizationId  GET /api/auth/organizations/:organizationId/members
    POST /api/auth/organizations/:organizationId/leave  GET /api/changes/:changeId  GET /api/changes/:changeId/comments  GET /api/changes/:changeId/diff  GET /api/changes/:changeId/evidence
    GET /api/changes/:changeId/evidence/blobs/:digest  GET /api/changes/:changeId/reviews  GET /api/changes/queue/:repositoryId  GET /api/checks/:checkId  GET /api/hitl/approvals/:approvalId
    GET /api/hitl/sessions/:sessionId  GET /api/hitl/sessions/:sessionId/versions  GET /api/hitl/sessions/:sessionId/versions/:version  GET /api/hitl/sessions/:sessionId/versions/:version/diff/:to
    GET /api/projects/:projectId  GET /api/projects/:projectId/members  GET /api/repositories/:repositoryId  GET /api/repositories/:repositoryId/head  GET /api/tickets/:ticketId  GET /api/tickets/:ticketId/activity
    GET /api/tickets/questions/:questionId  GET /api/usage/budgets/:projectId  GET /api/vms/:vmId  GET /api/vms/:vmId/usage  GET /git/:project/:repo/info/refs  POST /git/:project/:repo/git-upload-pack`,
  developer: `
    POST /api/changes/:changeId/comments  PATCH /api/changes/:changeId/comments/:commentId  DELETE /api/changes/:changeId/comments/:commentId  POST /api/changes/:changeId/comments/:commentId/replies
    POST /api/changes/:changeId/comments/:commentId/resolution  POST /api/changes/:changeId/reviews  POST /api/changes/queue/:repositoryId/pause  POST /api/changes/queue/:repositoryId/resume
    POST /api/hitl/approvals/:approvalId/decision  POST /api/hitl/sessions  POST /api/hitl/sessions/:sessionId/answers  POST /api/hitl/sessions/:sessionId/cancel  POST /api/hitl/sessions/:sessionId/retry
    POST /api/hitl/sessions/:sessionId/skip  PUT /api/hitl/sessions/:sessionId/spec  POST /api/repositories/:repositoryId/push  POST /api/tickets  PATCH /api/tickets/:ticketId  POST /api/tickets/:ticketId/cancel
    POST /api/tickets/:ticketId/hold  POST /api/tickets/:ticketId/retry  POST /api/tickets/questions/:questionId/answer  POST /api/vms/:vmId/fork  POST /api/vms/:vmId/kill  GET /api/vms/:vmId/logs
    POST /api/vms/:vmId/pause  POST /api/vms/:vmId/resume`,
  admin: `
    GET /api/audit  GET /api/audit/export  PATCH /api/auth/organizations/:organizationId  GET /api/auth/organizations/:organizationId/invitations  POST /api/auth/organizations/:organizationId/invitations
    DELETE /api/auth/organizations/:organizationId/invitations/:invitationId  PUT /api/auth/organizations/:organizationId/members/:userId  DELETE /api/auth/organizations/:organizationId/members/:userId
    GET /api/policies  PUT /api/policies/:organizationId/:policyId  DELETE /api/policies/:organizationId/:policyId  POST /api/policies/dry-run  POST /api/policies/explain  POST /api/projects  PATCH /api/projects/:projectId
    PUT /api/projects/:projectId/members/:userId  DELETE /api/projects/:projectId/members/:userId  POST /api/repositories  POST /api/repositories/import  GET /api/secrets  PUT /api/secrets  GET /api/secrets/:secretId
    DELETE /api/secrets/:secretId  PUT /api/usage/budgets/:kind/:id  GET /api/vms/:vmId/exec  POST /model/v1/messages`,
  super_admin: `
    POST /api/agents  PUT /api/agents/:name  GET /api/audit/installation  GET /api/auth/users  GET /api/auth/users/:userId  PATCH /api/auth/users/:userId  GET /api/auth/users/:userId/sessions  POST /api/runners
    DELETE /api/runners/:runnerId  POST /api/runners/:runnerId/drain  POST /api/runners/:runnerId/undrain  POST /api/secrets/rotate-keys  GET /api/system/config  GET /api/vms/usage  GET /metrics`,
  machine: `
    POST /claim  POST /complete  POST /fail  POST /heartbeat  POST /release  POST /status  POST /upcoming  POST /secrets  POST /operations  POST /operations/end  GET /operations/:operationId/stream
    POST /git/:project/:repo/git-receive-pack`,
}

const LEAST = new Map(Object.entries(ROUTES).flatMap(([least, routes]) => routes.trim().split(/\s{2,}|\n\s*/).map((route) => [route, least as Least] as const)))
const CALLERS = ['other organisation', 'no organisation', 'viewer', 'developer', 'admin', 'super_admin'] as const
type Caller = (typeof CALLERS)[number]
const STRENGTH: Readonly<Record<Exclude<Least, 'public' | 'machine'>, readonly Caller[]>> = {
  own: CALLERS, viewer: ['viewer', 'developer', 'admin', 'super_admin'], developer: ['developer', 'admin', 'super_admin'], admin: ['admin', 'super_admin'], super_admin: ['super_admin'],
}

/** One of everything in a project, by name of the parameter that names it. What was taken away is there again after `refill`. */
async function makeWorld(server: TestServer) {
  const project = await server.admin.call(createProject, { body: { slug: 'shop' } })
  const repository = await server.admin.call(createRepository, { body: { projectId: project.id, slug: 'shop' } })
  const ticket = await server.admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'One', agent: 'developer' } })
  const runner = await server.admin.call(registerRunner, { body: { name: 'host' } })
  const { db } = server.context
  await db.write(async (trx) => { await trx.insertInto('organizations').values({ id: 'ORG-OTHER000', slug: 'other', name: 'Other', created_at: 1 }).execute() })
  const ids: Record<string, string> = {
    projectId: project.id, repositoryId: repository.id, ticketId: ticket.id, runnerId: runner.id, project: 'shop', repo: 'shop', organizationId: 'default', name: 'developer', policyId: 'of-tests',
    attemptId: 'ATT-00000001', changeId: 'CHG-00000001', approvalId: 'APR-00000001', checkId: 'CHK-00000001', sessionId: 'SES-00000001', questionId: 'QST-00000001', vmId: 'VM-00000001', secretId: 'SEC-00000001',
    commentId: 'CMT-00000001', kind: 'ticket', id: ticket.id, version: '1', to: '1', userId: 'USR-MEMBER', callId: 'CAL-00000001', digest: 'a'.repeat(64), viewId: 'VIW-00000001', keyId: 'TOK-00000001', loginId: 'login-none',
    invitationId: 'INV-00000001', operationId: 'OPN-00000001',
  }
  /** A row with something in each column that must not be empty. */
  const fill = async (table: string, values: Record<string, unknown>): Promise<void> => {
    const { rows } = await sql<{ name: string; type: string; notnull: number }>`select name, type, "notnull" from pragma_table_info(${table})`.execute(db.read)
    const row = Object.fromEntries(rows.filter(({ name, notnull }) => notnull === 1 || name in values).map(({ name, type }) => [name, values[name] ?? (type === 'text' ? '{}' : 0)]))
    await db.write(async (trx) => { await sql`insert or ignore into ${sql.table(table)} (${sql.join(Object.keys(row).map((name) => sql.ref(name)))}) values (${sql.join(Object.values(row))})`.execute(trx) })
  }
  const within = { project_id: project.id, repository_id: repository.id, ticket_id: ticket.id }
  const refill = async (): Promise<void> => {
    // One that was taken away comes back by its name.
    await server.admin.call(registerRunner, { body: { name: 'host' } })
    await fill('attempts', { ...within, id: ids['attemptId'], number: 1, state: 'failed' })
    await fill('changes', { ...within, id: ids['changeId'], state: 'open' })
    await fill('approvals', { ...within, id: ids['approvalId'], kind: 'merge', subject_kind: 'change', subject_id: ids['changeId'], status: 'cancelled' })
    await fill('check_runs', { ...within, id: ids['checkId'], state: 'passed' })
    await fill('design_sessions', { ...within, id: ids['sessionId'], state: 'completed' })
    await fill('questions', { ...within, id: ids['questionId'], attempt_id: ids['attemptId'], options: '[]' })
    await fill('vms', { ...within, id: ids['vmId'], runner_id: runner.id, state: 'ended' })
    await fill('secrets', { project_id: project.id, id: ids['secretId'], organization_id: 'ORG-00000000', scope: 'x', name: 'token' })
  }
  return { ids, refill }
}

const persons = new Map<string, number>()

/** A new person of a kind, since some routes end their session. */
async function caller(server: TestServer, kind: Caller): Promise<string> {
  const number = (persons.get(kind) ?? 0) + 1
  persons.set(kind, number)
  const id = `${kind.replaceAll(' ', '-')}-${number}`
  const made = kind === 'super_admin' ? await person(server, id, undefined, { superAdmin: true })
    : kind === 'no organisation' ? await person(server, id)
      : kind === 'other organisation' ? await person(server, id, 'admin', { organizationId: 'ORG-OTHER000' }) : await person(server, id, kind)
  return made.token
}

async function ask(server: TestServer, route: string, ids: Readonly<Record<string, string>>, token?: string): Promise<{ status: number; code: string; text: string }> {
  const [method = '', path = ''] = route.split(' ')
  const url = path.replace(/:(\w+)/g, (_, name: string) => ids[name] ?? 'missing')
  const git = /git-(upload|receive)-pack$/.exec(path)?.[0]
  const body = method === 'GET' || method === 'DELETE' ? undefined : git ? '0000' : JSON.stringify(method === 'POST' && /^\/api\/(tickets|repositories|repositories\/import|hitl\/sessions)$/.test(path) || path === '/api/secrets' ? { projectId: ids['projectId'] } : {})
  const response = await fetch(`${server.url}${url}${path.endsWith('info/refs') ? '?service=git-upload-pack' : path === '/api/secrets' ? `?projectId=${ids['projectId']}` : ''}`, {
    method, redirect: 'manual', ...(body === undefined ? {} : { body }),
    headers: { ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), 'x-swarm-project': ids['projectId'] ?? '', ...(body === undefined ? {} : { 'content-type': git ? `application/x-${git}-request` : 'application/json' }) },
  })
  const text = await response.text()
  return { status: response.status, code: /"code":"(\w+)"/.exec(text)?.[1] ?? '', text }
}

test('every route has its row, and answers each role and the stranger as the row says', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place, { settings: { 'http.ratePerMinute.user': 1_000_000, 'http.ratePerMinute.userWrite': 1_000_000 } })
  const world = await makeWorld(server)
  const routes = [...new Set(server.context.http.routes.filter(({ method }) => method !== 'HEAD').map(({ method, url }) => `${method} ${url}`))]
  expect(routes.filter((route) => !LEAST.has(route)), 'routes without a row').toEqual([])
  expect([...LEAST.keys()].filter((route) => !routes.includes(route)), 'rows without a route').toEqual([])
  expect([...LEAST].filter(([route, least]) => (least === 'public') !== PUBLIC_ROUTES.has(route))).toEqual([])

  const wrong: string[] = []
  for (const [route, least] of LEAST) {
    const stranger = await ask(server, route, world.ids)
    if ((stranger.status === 401 && stranger.code === 'unauthenticated') === (least === 'public')) wrong.push(`a stranger at ${route}: ${stranger.status} ${stranger.code}`)
    if (least === 'public') continue
    for (const kind of CALLERS) {
      await world.refill()
      const answer = await ask(server, route, world.ids, await caller(server, kind))
      const refused = answer.status === 401 || ['forbidden', 'wrong_caller', 'not_found'].includes(answer.code)
      const may = least !== 'machine' && STRENGTH[least].includes(kind)
      // What it names beside the world is not there, or they are no member who could leave: that they may ask is all that is to be seen.
      const nothingThere = may && answer.code === 'not_found' && (least === 'own' || /:(commentId|callId|digest|invitationId|userId|version|to|policyId)|leave$/.test(route))
      if (refused === may && !nothingThere) wrong.push(`${kind} at ${route}: ${answer.status} ${answer.code}`)
      const told = ['other organisation', 'no organisation'].includes(kind) && answer.status < 400 && [world.ids['projectId'], world.ids['ticketId'], world.ids['changeId'], world.ids['approvalId'], world.ids['sessionId'], world.ids['vmId']].filter((id) => answer.text.includes(id ?? '-'))
      if (told && told.length > 0) wrong.push(`${kind} at ${route} is told of ${told.join(', ')}`)
    }
  }
  expect(wrong).toEqual([])
}, 180_000)

test('every room lets in who may see what it is about, and nobody else', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place)
  const { ids, refill } = await makeWorld(server)
  await refill()
  const rooms = [`session:${ids['sessionId']}`, `ticket:${ids['ticketId']}`, `project:${ids['projectId']}`, 'tenant:default']
  for (const kind of CALLERS) {
    const token = await caller(server, kind)
    const principal = await server.context.http.identifyUser?.({ authorization: `Bearer ${token}` })
    expect(principal).toBeTruthy()
    for (const room of rooms) {
      const entered = await enterRoom(server.context.authorization, principal!, room, 'test').then(() => true, (error: unknown) => {
        expect(error).toBeInstanceOf(DomainError)
        return false
      })
      expect([kind, room, entered]).toEqual([kind, room, STRENGTH.viewer.includes(kind)])
    }
  }
})
