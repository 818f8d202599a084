import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Database } from '../../db/database.ts'
import { openDatabase } from '../../db/open.ts'
import { ensureAdminToken } from '../../http/admin-token.ts'
import { createHttp, type Http } from '../../http/http.ts'
import { newId } from '../../ids.ts'
import { createLogger, logDestination } from '../../logger.ts'
import { createMetrics } from '../../metrics.ts'
import { mintToken, revokeTokens, type NewToken } from '../../http/tokens.ts'
import { createRepositories } from '../repositories/repositories.ts'
import type { RepositoryService } from '../repositories/service.ts'
import { registerGit } from './routes.ts'

const run = promisify(execFile)
const MAX_PUSH = 2 * 1024 * 1024

let folder: string
let db: Database
let http: Http
let url: string
let repositories: RepositoryService
let bare: string
let main: string
let repositoryId: string
let admin: string
let port: number

/** git as a person or a runner would call it, with a bearer token and protocol v2 asked for. */
async function git(cwd: string, args: string[], token?: string): Promise<{ code: number; out: string; err: string }> {
  const env = {
    PATH: process.env['PATH'] ?? '', HOME: folder, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1', GIT_TERMINAL_PROMPT: '0', LC_ALL: 'C',
    GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@b',
    GIT_CONFIG_COUNT: '2', GIT_CONFIG_KEY_0: 'protocol.version', GIT_CONFIG_VALUE_0: '2',
    GIT_CONFIG_KEY_1: 'http.extraHeader', GIT_CONFIG_VALUE_1: token === undefined ? 'x-none: 1' : `Authorization: Bearer ${token}`,
  }
  return run('git', args, { cwd, env, maxBuffer: 64 * 1024 * 1024 }).then(({ stdout, stderr }) => ({ code: 0, out: stdout, err: stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({ code: error.code, out: error.stdout, err: error.stderr }))
}
const token = (input: NewToken) => db.write(async (trx) => (await mintToken(trx, input)).token)

async function attempt(id: string, patch: { state?: string; fence?: number; lease?: number; currentFence?: number } = {}): Promise<string> {
  const now = Date.now()
  await db.write(async (trx) => {
    const project = await trx.selectFrom('projects').select('id').executeTakeFirstOrThrow()
    await trx.insertInto('tickets').values({
      id: `TKT-${id}`, project_id: project.id, repository_id: repositoryId, session_id: null, key: id, title: id, description: '', acceptance: '[]', scope: '[]', requirements: '[]',
      predicted_files: '[]', agent_name: 'a', state: 'in_progress', hold_reason: null, priority: 0, wave: 0, story_points: 1, fence: patch.currentFence ?? patch.fence ?? 1, attempt_count: 1,
      failure_counts: '{}', retry_at: null, branch: `swarm/TKT-${id}`, head_sha: null, next_base_sha: null, next_start_sha: null, evidence: '[]', ready_at: now, created_at: now, updated_at: now,
    }).execute()
    await trx.insertInto('attempts').values({
      id, ticket_id: `TKT-${id}`, project_id: project.id, number: 1, fence: patch.fence ?? 1, state: patch.state ?? 'running', agent_name: 'a', agent_version: 1, runner_id: 'RUN-1', claim_key: 'k',
      vm_id: null, correlation_id: 'test-correlation', base_sha: main, start_sha: main, head_sha: null, wip_sha: null, summary: null, lease_expires_at: patch.lease ?? now + 60_000, deadline_at: now + 60_000,
      activity_at: null, status_sequence: 0, failure_class: null, failure_reason: null, failure_message: null, evidence: null, gate: null, stop_code: null, stop_reason: null, created_at: now, ended_at: null,
    }).execute()
  })
  await repositories.setRef(repositoryId, `refs/swarm/attempts/${id}/start`, main)
  return await token({ kind: 'attempt', subjectId: id, fence: patch.fence ?? 1 })
}

/** A clone of main by this token with one more commit; gives its folder and the commit. */
async function cloneAndCommit(name: string, bearer: string, text = name): Promise<{ work: string; sha: string }> {
  const work = join(folder, name)
  const cloned = await git(folder, ['clone', '-q', `${url}/git/demo/app.git`, work], bearer)
  expect(cloned, cloned.err).toMatchObject({ code: 0 })
  await writeFile(join(work, `${name}.txt`), text)
  await git(work, ['add', '.'])
  await git(work, ['commit', '-q', '-m', name])
  return { work, sha: (await git(work, ['rev-parse', 'HEAD'])).out.trim() }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'swarm-git-endpoint-'))
  const home = join(folder, 'home')
  db = await openDatabase({ home, strictUnits: true })
  await ensureAdminToken(db, home)
  const many = 1_000_000
  http = await createHttp({
    host: '127.0.0.1', port: 0, trustedProxies: [], version: '0', bodyLimitBytes: 1_048_576, closeDeadlineMs: 1_000,
    rateLimits: { anonymous: many, admin: many, runner: many, attempt: many, check: many, userWrite: 1_000_000, user: many, live: many },
  }, { db, logger: createLogger('info', logDestination(join(folder, 'server.log'))), metrics: createMetrics() })
  repositories = createRepositories({ http, db }, { root: join(home, 'repositories'), makeId: newId, now: Date.now, checkSwarmYml: () => undefined, origins: { exemptions: [], resolve: async () => [] } })
  registerGit(http, {
    read: db.read, now: Date.now, maxPushBytes: MAX_PUSH,
    locate: async (project, repo) => {
      const found = await repositories.findBySlugs(project, repo)
      return { id: found.id, path: repositories.pathOf(found) }
    },
  })
  url = await http.listen()
  port = Number(new URL(url).port)
  admin = (await readFile(join(home, 'admin-token'), 'utf8')).trim()
  await db.write(async (trx) => { await trx.insertInto('projects').values({ id: 'PRJ-00000000', slug: 'demo', name: 'Demo', settings: '{}', created_at: 1 }).execute() })
  const made = await repositories.create({ projectId: 'demo', slug: 'app', gitignore: 'node_modules/\n', swarmYml: 'checks: { test: "true" }\n' })
  main = made.head
  repositoryId = made.repository.id
  bare = repositories.pathOf(made.repository)
})
afterAll(async () => {
  await http[Symbol.asyncDispose]()
  await db[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

describe('the git endpoint', () => {
  test('asks a stranger for credentials before it says whether a repository exists', async () => {
    for (const path of ['/git/demo/app.git/info/refs?service=git-upload-pack', '/git/no/such/info/refs?service=git-upload-pack']) {
      const answer = await fetch(`${url}${path}`)
      expect(answer.status).toBe(401)
      expect(answer.headers.get('www-authenticate')).toContain('Basic')
    }
    expect((await git(folder, ['ls-remote', `${url}/git/demo/app.git`])).code).not.toBe(0)
  })

  test('answers 404 for another repository and 400 for the dumb protocol', async () => {
    const headers = { authorization: `Bearer ${admin}` }
    expect((await fetch(`${url}/git/demo/none/info/refs?service=git-upload-pack`, { headers })).status).toBe(404)
    expect((await fetch(`${url}/git/demo/app/info/refs`, { headers })).status).toBe(400)
  })

  test('refuses a runner and a live token with 403 or 401', async () => {
    const runner = await token({ kind: 'runner', subjectId: 'RUN-1' })
    expect((await fetch(`${url}/git/demo/app/info/refs?service=git-upload-pack`, { headers: { authorization: `Bearer ${runner}` } })).status).toBe(403)
  })

  test('lets an attempt clone main and push to its own refs, deep ones and forced ones', async () => {
    const bearer = await attempt('ATT-00000001')
    const { work, sha } = await cloneAndCommit('one', bearer)
    expect(await git(work, ['push', '-q', 'origin', 'HEAD:refs/swarm/attempts/ATT-00000001/head'], bearer)).toMatchObject({ code: 0 })
    expect(await repositories.resolve(repositoryId, 'refs/swarm/attempts/ATT-00000001/head')).toBe(sha)
    await git(work, ['commit', '-q', '--amend', '-m', 'again'])
    expect(await git(work, ['push', '-q', '--force', 'origin', 'HEAD:refs/swarm/attempts/ATT-00000001/head'], bearer)).toMatchObject({ code: 0 })
    // What was overwritten is still there.
    expect((await git(bare, ['cat-file', '-t', sha])).out.trim()).toBe('commit')
    expect((await git(work, ['push', '-q', 'origin', ':refs/swarm/attempts/ATT-00000001/head'], bearer)).code).not.toBe(0)
  })

  test('refuses an attempt every other ref, main first', async () => {
    const bearer = await attempt('ATT-00000002')
    const { work } = await cloneAndCommit('two', bearer)
    for (const ref of ['refs/heads/main', 'refs/heads/swarm/TKT-ATT-00000002', 'refs/tags/v1', 'refs/swarm/attempts/ATT-00000001/head', 'refs/swarm/attempts/ATT-000000022/head', 'refs/swarm/checks/CHK-1', 'refs/swarm/attempts']) {
      const pushed = await git(work, ['push', '--force', 'origin', `HEAD:${ref}`], bearer)
      expect(pushed.code, `${ref}: ${pushed.err}`).not.toBe(0)
    }
    // A push of an allowed and a forbidden ref together leaves the forbidden one alone.
    await git(work, ['push', 'origin', 'HEAD:refs/swarm/attempts/ATT-00000002/head', 'HEAD:refs/heads/main'], bearer)
    expect(await repositories.resolve(repositoryId, 'refs/heads/main')).toBe(main)
    expect(await repositories.resolve(repositoryId, 'refs/tags/v1')).toBeNull()
  })

  test('neither lists nor serves what another attempt pushed', async () => {
    const first = await attempt('ATT-00000003')
    const { work, sha } = await cloneAndCommit('three', first, 'a secret of attempt three')
    await git(work, ['push', '-q', 'origin', 'HEAD:refs/swarm/attempts/ATT-00000003/head'], first)
    const second = await attempt('ATT-00000004')
    const listed = await git(folder, ['ls-remote', `${url}/git/demo/app`], second)
    expect(listed.out).toContain('refs/heads/main')
    expect(listed.out).toContain('refs/swarm/attempts/ATT-00000004/start')
    expect(listed.out).not.toContain('ATT-00000003')
    const clone = join(folder, 'four')
    await git(folder, ['clone', '-q', `${url}/git/demo/app`, clone], second)
    expect((await git(clone, ['fetch', 'origin', sha], second)).code).not.toBe(0)
    expect((await git(clone, ['fetch', 'origin', 'refs/swarm/attempts/ATT-00000003/head'], second)).code).not.toBe(0)
    expect((await git(clone, ['cat-file', '-t', sha])).code).not.toBe(0)
    // The same by hand, past a client that would not even ask: want by id over the wire.
    const want = `want ${sha} ofs-delta\n`
    const answer = await fetch(`${url}/git/demo/app/git-upload-pack`, {
      method: 'POST', headers: { authorization: `Bearer ${second}`, 'content-type': 'application/x-git-upload-pack-request' },
      body: `${(want.length + 4).toString(16).padStart(4, '0')}${want}00000009done\n`,
    })
    expect(await answer.text().catch(() => '')).not.toContain('PACK')
    // Its own commit is served.
    expect((await git(clone, ['fetch', '-q', 'origin', 'refs/swarm/attempts/ATT-00000004/start'], second)).code).toBe(0)
    // And an admin reads all.
    expect((await git(folder, ['ls-remote', `${url}/git/demo/app`], admin)).out).toContain('refs/swarm/attempts/ATT-00000003/head')
  })

  test('lets a check fetch its own commit and push nothing', async () => {
    await db.write(async (trx) => {
      await trx.insertInto('check_runs').values({
        id: 'CHK-00000001', project_id: 'PRJ-00000000', repository_id: repositoryId, purpose: 'base', attempt_id: null, change_id: null, ticket_id: null, commit_sha: main, tree_sha: main,
        plan: '{}', plan_digest: 'x', state: 'running', fence: 1, tries: 1, runner_id: 'RUN-1', claim_key: 'k', vm_id: null, lease_expires_at: Date.now() + 60_000, status_sequence: 0,
        results: null, failure: null, correlation_id: 'c', created_at: 1, started_at: 1, ended_at: null,
      }).execute()
    })
    await repositories.setRef(repositoryId, 'refs/swarm/checks/CHK-00000001', main)
    const bearer = await token({ kind: 'check', subjectId: 'CHK-00000001', fence: 1 })
    const listed = await git(folder, ['ls-remote', `${url}/git/demo/app`], bearer)
    expect(listed.out).toContain('refs/swarm/checks/CHK-00000001')
    expect(listed.out).not.toContain('refs/swarm/attempts')
    expect((await fetch(`${url}/git/demo/app/info/refs?service=git-receive-pack`, { headers: { authorization: `Bearer ${bearer}` } })).status).toBe(403)
    const stale = await token({ kind: 'check', subjectId: 'CHK-00000001', fence: 2 })
    expect((await fetch(`${url}/git/demo/app/info/refs?service=git-upload-pack`, { headers: { authorization: `Bearer ${stale}` } })).status).toBe(409)
  })

  test('refuses an attempt whose fence, lease or state is over, and a revoked token', async () => {
    const stale = [
      await attempt('ATT-00000005', { state: 'failed' }), await attempt('ATT-00000006', { lease: Date.now() - 1 }),
      await attempt('ATT-00000007', { fence: 3, currentFence: 4 }), await attempt('ATT-00000008', { state: 'gating' }),
    ]
    for (const bearer of stale) {
      for (const service of ['git-upload-pack', 'git-receive-pack']) {
        const answer = await fetch(`${url}/git/demo/app/info/refs?service=${service}`, { headers: { authorization: `Bearer ${bearer}` } })
        expect(answer.status).toBe(409)
        expect(await answer.json()).toMatchObject({ error: { code: 'stale_fence' } })
      }
    }
    const revoked = await attempt('ATT-00000009')
    await db.write((trx) => revokeTokens(trx, { kind: 'attempt', subjectId: 'ATT-00000009' }))
    expect((await fetch(`${url}/git/demo/app/info/refs?service=git-upload-pack`, { headers: { authorization: `Bearer ${revoked}` } })).status).toBe(401)
  })

  test('a push between whose two requests the fence moves on changes nothing', async () => {
    const bearer = await attempt('ATT-0000000A')
    const { work, sha } = await cloneAndCommit('ten', bearer)
    await db.write(async (trx) => { await trx.updateTable('tickets').set({ fence: 2 }).where('id', '=', 'TKT-ATT-0000000A').execute() })
    const pushed = await git(work, ['push', 'origin', 'HEAD:refs/swarm/attempts/ATT-0000000A/head'], bearer)
    expect(pushed.err).toContain('409')
    expect((await git(bare, ['cat-file', '-t', sha])).code).not.toBe(0)
  })

  test('admin tokens read by password, as a person clones, and cannot push', async () => {
    const clone = join(folder, 'person')
    const cloned = await git(folder, ['clone', '-q', `http://x:${admin}@127.0.0.1:${port}/git/demo/app`, clone])
    expect(cloned, cloned.err).toMatchObject({ code: 0 })
    expect(await readFile(join(clone, 'README.md'), 'utf8')).toBe('# app\n')
    expect((await git(clone, ['push', 'origin', 'HEAD:refs/heads/x'])).err).toContain('403')
  })

  test('refuses a push above the limit and keeps none of it', async () => {
    const bearer = await attempt('ATT-0000000B')
    const { work, sha } = await cloneAndCommit('big', bearer, randomBytes(MAX_PUSH * 3).toString('base64'))
    const pushed = await git(work, ['push', 'origin', 'HEAD:refs/swarm/attempts/ATT-0000000B/head'], bearer)
    expect(pushed.code).not.toBe(0)
    expect(await repositories.resolve(repositoryId, 'refs/swarm/attempts/ATT-0000000B/head')).toBeNull()
    expect((await git(bare, ['cat-file', '-t', sha])).code).not.toBe(0)
    await expect.poll(async () => (await readdir(join(bare, 'objects'))).filter((name) => name.startsWith('tmp_objdir')), { timeout: 10_000 }).toEqual([])
  })

  test('takes a push in chunks and one compressed request, and refuses objects that are not sound', async () => {
    const bearer = await attempt('ATT-0000000C')
    const { work } = await cloneAndCommit('chunks', bearer, randomBytes(1_200_000).toString('latin1').slice(0, 900_000))
    expect(await git(work, ['-c', 'http.postBuffer=65536', 'push', '-q', 'origin', 'HEAD:refs/swarm/attempts/ATT-0000000C/head'], bearer)).toMatchObject({ code: 0 })
    // Many haves make git compress the negotiation.
    for (let i = 0; i < 40; i++) await git(work, ['commit', '-q', '--allow-empty', '-m', `${i}`])
    expect(await git(work, ['fetch', '-q', 'origin', 'refs/swarm/attempts/ATT-0000000C/start'], bearer)).toMatchObject({ code: 0 })
    const tree = (await git(work, ['rev-parse', 'HEAD^{tree}'])).out.trim()
    const child = spawn('git', ['hash-object', '-t', 'commit', '-w', '--stdin', '--literally'], { cwd: work, stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdin.end(`tree ${tree}\nauthor broken\ncommitter broken\n\nx\n`)
    let bad = ''
    for await (const text of child.stdout) bad += String(text)
    expect((await git(work, ['push', 'origin', `${bad.trim()}:refs/swarm/attempts/ATT-0000000C/bad`], bearer)).code).not.toBe(0)
    expect(await repositories.resolve(repositoryId, 'refs/swarm/attempts/ATT-0000000C/bad')).toBeNull()
  })

  test('runs no hook of the repository', async () => {
    await mkdir(join(bare, 'hooks'), { recursive: true })
    await writeFile(join(bare, 'hooks/pre-receive'), `#!/bin/sh\ntouch ${folder}/hooked\nexit 1\n`)
    await chmod(join(bare, 'hooks/pre-receive'), 0o755)
    const bearer = await attempt('ATT-0000000D')
    const { work } = await cloneAndCommit('hook', bearer)
    expect(await git(work, ['push', '-q', 'origin', 'HEAD:refs/swarm/attempts/ATT-0000000D/head'], bearer)).toMatchObject({ code: 0 })
    expect(await readdir(folder)).not.toContain('hooked')
  })

  test('ends git when its client goes away in the middle', async () => {
    const bearer = await attempt('ATT-0000000E')
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(`POST /git/demo/app/git-receive-pack HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${bearer}\r\ncontent-type: application/x-git-receive-pack-request\r\ntransfer-encoding: chunked\r\n\r\n4\r\n0094\r\n`)
    const serving = async () => (await run('ps', ['-eo', 'args']).catch(() => ({ stdout: '' }))).stdout.split('\n').filter((line) => line.includes('receive-pack') && line.includes('ATT-0000000E')).length
    await expect.poll(serving, { timeout: 5_000 }).toBeGreaterThan(0)
    socket.destroy()
    await expect.poll(serving, { timeout: 5_000 }).toBe(0)
  })
})
