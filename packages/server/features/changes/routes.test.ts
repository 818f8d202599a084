import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createServer, type Server } from '../../app.ts'
import { loadConfig } from '../../config.ts'
import { git } from '@swarm/git/run.ts'
import { identity } from '../../integrations/builtin-code-host/bare.ts'
import { mintToken } from '../../http/tokens.ts'

let folder: string
let server: Server
let token: string
let repositoryId: string

/** The fields that these tests look into, whichever endpoint answered. */
interface Body { id: string; head: string; path: string; items: { id: string }[]; nextCursor: string | null; pausedReason: string | null; files: unknown[]; patch: string; truncated: boolean }

async function call(method: 'GET' | 'POST', url: string, payload?: object, bearer = token): Promise<{ status: number; body: Body }> {
  const answer = await server.context.http.app.inject({ method, url, headers: { authorization: `Bearer ${bearer}` }, ...(payload ? { payload } : {}) })
  return { status: answer.statusCode, body: answer.json<Body>() }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'swarm-changes-'))
  const { config } = loadConfig({ SWARM_HOME: join(folder, 'home'), SWARM_CACHE: join(folder, 'cache'), SWARM_PORT: '0' })
  server = await createServer(config, { strictUnits: true })
  token = (await readFile(join(config.home, 'admin-token'), 'utf8')).trim()
  const { db } = server.context
  await db.write(async (trx) => { await trx.insertInto('projects').values({ id: 'PRJ-00000000', slug: 'demo', name: 'Demo', settings: '{}', created_at: 1 }).execute() })
  const made = await call('POST', '/api/repositories', { projectId: 'demo', slug: 'app' })
  repositoryId = made.body.id
  const path = (await call('GET', `/api/repositories/${repositoryId}`)).body.path
  const base = made.body.head
  const blob = (await git(path, ['hash-object', '-w', '--stdin'], { input: 'one\ntwo\n' })).stdout.trim()
  const tree = (await git(path, ['mktree'], { input: `100644 blob ${blob}\tä b.txt\n` })).stdout.trim()
  const head = (await git(path, ['commit-tree', tree, '-p', base, '-m', 'x'], { env: identity() })).stdout.trim()
  await db.write(async (trx) => {
    for (const n of [1, 2, 3]) {
      await trx.insertInto('tickets').values({
        id: `TKT-0000000${n}`, project_id: 'PRJ-00000000', repository_id: repositoryId, session_id: null, key: `${n}`, title: `t${n}`, description: '', acceptance: '[]', scope: '[]', requirements: '[]', predicted_files: '[]',
        agent_name: 'a', state: 'in_review', hold_reason: null, priority: 0, wave: 0, story_points: 1, fence: 1, attempt_count: 1, failure_counts: '{}', retry_at: null, branch: `swarm/TKT-0000000${n}`, head_sha: head,
        next_base_sha: null, next_start_sha: null, evidence: '[]', ready_at: 1, created_at: 1, updated_at: 1,
      }).execute()
      await trx.insertInto('changes').values({
        id: `CHG-0000000${n}`, project_id: 'PRJ-00000000', repository_id: repositoryId, ticket_id: `TKT-0000000${n}`, branch: `swarm/TKT-0000000${n}`, title: `t${n}`, body: 'body', state: 'open',
        base_sha: base, head_sha: head, merged_sha: null, evidence: '{"a":1}', created_at: n, updated_at: n,
      }).execute()
    }
  })
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

test('changes are listed by pages, newest first, and shown by their own id or their ticket\'s', async () => {
  const first = await call('GET', '/api/changes?limit=2')
  expect(first.body.items.map((change) => change.id)).toEqual(['CHG-00000003', 'CHG-00000002'])
  const second = await call('GET', `/api/changes?limit=2&cursor=${first.body.nextCursor}`)
  expect(second.body).toMatchObject({ items: [{ id: 'CHG-00000001' }], nextCursor: null })
  expect((await call('GET', '/api/changes?cursor=x')).status).toBe(400)
  expect((await call('GET', '/api/changes?state=merged')).body.items).toEqual([])
  for (const id of ['CHG-00000001', 'TKT-00000001']) expect(await call('GET', `/api/changes/${id}`)).toMatchObject({ status: 200, body: { id: 'CHG-00000001', body: 'body', evidence: { a: 1 }, merge: null } })
  expect((await call('GET', '/api/changes/CHG-NONE')).status).toBe(404)
})

test('the diff has the unified text and figures per file', async () => {
  const { body } = await call('GET', '/api/changes/CHG-00000001/diff')
  expect(body.files).toEqual(expect.arrayContaining([{ path: 'ä b.txt', oldPath: null, additions: 2, deletions: 0 }, { path: 'README.md', oldPath: null, additions: 0, deletions: 1 }]))
  expect(body.patch).toContain('+one\n+two\n')
  expect(body.truncated).toBe(false)
})

test('a queue is paused and resumed by an admin, and says why it stands still', async () => {
  const url = `/api/changes/queue/${repositoryId}`
  expect((await call('POST', `${url}/resume`)).status).toBe(409)
  expect((await call('POST', `${url}/pause`, { reason: 'release day' })).body).toEqual({ repositoryId, pausedReason: 'release day', entries: [], batches: [], suspects: [] })
  expect((await call('GET', url)).body.pausedReason).toBe('release day')
  expect((await call('POST', `${url}/resume`)).body.pausedReason).toBeNull()
  expect((await call('GET', '/api/changes/queue/REP-NONE')).status).toBe(404)
})

test('a queue shows its batches, and the suspects among those that wait while a red one is bisected', async () => {
  const { db } = server.context
  const changes = await db.read.selectFrom('changes').selectAll().orderBy('id').execute()
  const [first, second] = changes
  if (!first || !second) throw new Error('no changes')
  const member = (change: typeof first) => ({ changeId: change.id, ticketId: change.ticket_id, headSha: change.head_sha, ontoSha: change.base_sha, tipSha: change.head_sha })
  await db.write(async (trx) => {
    for (const change of [first, second]) {
      await trx.insertInto('merge_entries').values({
        change_id: change.id, repository_id: repositoryId, ticket_id: change.ticket_id, head_sha: change.head_sha, state: 'queued', base_sha: null, candidate_sha: null, check_id: null, batch_id: null,
        losses: 0, approval_id: null, reason: null, created_at: change.created_at, updated_at: 1,
      }).execute()
    }
    await trx.insertInto('merge_batches').values({
      id: 'BAT-00000001', project_id: 'PRJ-00000000', repository_id: repositoryId, state: 'red', base_sha: first.base_sha, head_sha: first.head_sha, members: JSON.stringify([member(first), member(second)]),
      check_id: 'CHK-00000001', reason: 'merged_tree_red: test', correlation_id: 'c', created_at: 1, ended_at: 2,
    }).execute()
  })
  const { status, body } = await call('GET', `/api/changes/queue/${repositoryId}`)
  expect(status).toBe(200)
  expect(body).toMatchObject({
    entries: [{ changeId: first.id, batchId: null }, { changeId: second.id }], suspects: [first.id, second.id],
    batches: [{ id: 'BAT-00000001', state: 'red', members: [{ changeId: first.id, tipSha: first.head_sha }, { changeId: second.id }], reason: 'merged_tree_red: test', endedAt: 2 }],
  })
})

test('an attempt may read none of it', async () => {
  const attempt = await server.context.db.write(async (trx) => (await mintToken(trx, { kind: 'attempt', subjectId: 'ATT-1', fence: 1 })).token)
  for (const url of ['/api/changes', '/api/changes/CHG-00000001/diff', `/api/changes/queue/${repositoryId}`, '/api/checks', '/api/repositories']) expect((await call('GET', url, undefined, attempt)).status, url).toBe(403)
  expect((await call('GET', '/api/checks')).body).toEqual({ items: [], nextCursor: null })
  expect((await call('GET', '/api/checks/CHK-NONE')).status).toBe(404)
})
