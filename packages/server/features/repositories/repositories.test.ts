import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createRepository, importRepository, listRepositories, pushRepository, repositoryHead, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createServer, type Server } from '../../app.ts'
import { loadConfig } from '../../config.ts'
import { commitFiles, compareAndSet, createBare, identity } from '../../integrations/builtin-code-host/bare.ts'
import { git } from '@swarm/git/run.ts'

const run = promisify(execFile)
let folder: string
let server: Server
let origin: string
let token: string

const at = (cwd: string, ...args: string[]) => run('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], { cwd, env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' } }).then(({ stdout }) => stdout.trim())

/** The fields that these tests look into, whichever endpoint answered. */
interface Body { id: string; head: string; path: string; sha: string; items: unknown[]; error?: { code: string; remedy: string } }
interface Answer { status: number; body: Body }

async function call(endpoint: { method: string; path: string }, parts: { params?: Record<string, string>; body?: unknown } = {}): Promise<Answer> {
  const url = Object.entries(parts.params ?? {}).reduce((path, [key, value]) => path.replace(`:${key}`, value), endpoint.path)
  const answer = await server.context.http.app.inject({ method: endpoint.method as 'GET', url, headers: { authorization: `Bearer ${token}` }, ...(parts.body === undefined ? {} : { payload: parts.body as object }) })
  return { status: answer.statusCode, body: answer.json<Body>() }
}
/** Everything in a folder of git's own, to see that nothing was touched. */
async function snapshot(path: string): Promise<string> {
  const names = (await readdir(path, { recursive: true })).toSorted()
  const parts = await Promise.all(names.map(async (name) => {
    const info = await stat(join(path, name))
    return `${name} ${info.isFile() ? `${info.size} ${info.mtimeMs}` : ''}`
  }))
  return parts.join('\n')
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'swarm-repositories-'))
  origin = join(folder, 'origin')
  await mkdir(origin)
  await at(origin, 'init', '-q', '-b', 'trunk')
  await writeFile(join(origin, 'a.txt'), 'a\n')
  await at(origin, 'add', '.')
  await at(origin, 'commit', '-q', '-m', 'first')
  const { config } = loadConfig({ SWARM_HOME: join(folder, 'home'), SWARM_CACHE: join(folder, 'cache'), SWARM_PORT: '0', SWARM_EGRESS_EXEMPTIONS: '[{"host":"127.0.0.1","cidr":"127.0.0.1/32"}]' })
  server = await createServer(config, { strictUnits: true })
  token = (await readFile(join(config.home, 'admin-token'), 'utf8')).trim()
  await server.context.db.write(async (trx) => { await trx.insertInto('projects').values({ id: 'PRJ-00000000', slug: 'demo', name: 'Demo', settings: '{}', created_at: 1 }).execute() })
})
afterEach(async () => {
  await server[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})
const take = (source: string, slug = 'app', branch?: string) => call(importRepository, { body: { projectId: 'demo', slug, source, ...(branch === undefined ? {} : { branch }) } })

describe('repositories', () => {
  test('a new one has one commit with a README, a .gitignore and the swarm.yml that was given', async () => {
    const made = await call(createRepository, { body: { projectId: 'demo', slug: 'fresh', swarmYml: 'checks: { test: "true" }\n' } })
    expect(made).toMatchObject({ status: 201, body: { slug: 'fresh', defaultBranch: 'main', origin: null } })
    const shown = await call(showRepository, { params: { repositoryId: made.body.id } })
    const path = shown.body.path
    expect((await git(path, ['ls-tree', '--name-only', 'main'])).stdout).toBe('.gitignore\nREADME.md\nswarm.yml\n')
    expect((await git(path, ['rev-list', '--count', 'main'])).stdout.trim()).toBe('1')
    expect(await call(repositoryHead, { params: { repositoryId: made.body.id } })).toMatchObject({ status: 200, body: { branch: 'main', sha: made.body.head } })
    expect(await call(createRepository, { body: { projectId: 'demo', slug: 'fresh' } })).toMatchObject({ status: 409, body: { error: { code: 'repository_exists' } } })
    expect((await call(listRepositories)).body.items).toHaveLength(1)
    expect((await call(showRepository, { params: { repositoryId: 'REP-NONE' } })).status).toBe(404)
  })

  test('a bad swarm.yml is refused before anything is made', async () => {
    expect(await call(createRepository, { body: { projectId: 'demo', slug: 'bad', swarmYml: 'checks:\n  test: []\n' } })).toMatchObject({ status: 422, body: { error: { code: 'swarm_yml_invalid', details: { line: 2 } } } })
    expect((await call(listRepositories)).body.items).toEqual([])
  })

  test('an import takes the committed state of the default branch and touches nothing of the user\'s', async () => {
    await writeFile(join(origin, 'a.txt'), 'changed, not committed\n')
    const before = await snapshot(origin)
    const taken = await take(origin)
    expect(taken).toMatchObject({ status: 200, body: { outcome: 'imported', defaultBranch: 'trunk', head: await at(origin, 'rev-parse', 'HEAD'), notes: [expect.stringContaining('uncommitted')] } })
    expect(await snapshot(origin)).toBe(before)
    expect(await take(origin)).toMatchObject({ body: { outcome: 'unchanged', id: taken.body.id } })
  })

  test('importing again fast-forwards, is quiet when Swarm is ahead, and refuses when both moved', async () => {
    const first = await take(origin)
    const path = (await call(showRepository, { params: { repositoryId: first.body.id } })).body.path
    await at(origin, 'commit', '-q', '--allow-empty', '-m', 'second')
    const second = await at(origin, 'rev-parse', 'HEAD')
    expect((await take(origin)).body).toMatchObject({ outcome: 'fast_forwarded', head: second })
    const ours = (await git(path, ['commit-tree', `${second}^{tree}`, '-p', second, '-m', 'merged here'], { env: identity() })).stdout.trim()
    await compareAndSet(path, 'refs/heads/trunk', ours, second)
    expect((await take(origin)).body).toMatchObject({ outcome: 'ahead', head: ours })
    await at(origin, 'commit', '-q', '--allow-empty', '-m', 'third')
    expect(await take(origin)).toMatchObject({ status: 409, body: { error: { code: 'repository_diverged' } } })
    expect((await call(repositoryHead, { params: { repositoryId: first.body.id } })).body.sha).toBe(ours)
  })

  test('what cannot be imported is named, with what to do, and leaves nothing behind', async () => {
    const empty = join(folder, 'empty')
    await mkdir(empty)
    const plain = await take(empty)
    await at(empty, 'init', '-q')
    await mkdir(join(origin, 'sub'))
    await at(origin, 'clone', '-q', '--depth', '1', `file://${origin}`, join(folder, 'shallow'))
    const cases: [string, Promise<Answer>, string][] = [
      ['no folder', take(join(folder, 'missing')), 'origin_missing'],
      ['a folder inside a repository', take(join(origin, 'sub')), 'not_a_repository'],
      ['a repository without commits', take(empty), 'repository_without_commits'],
      ['no such branch', take(origin, 'app', 'nope'), 'branch_missing'],
      ['credentials', take('https://user:pass@example.org/x.git'), 'origin_with_credentials'],
      ['a token as user', take('https://token@example.org/x.git'), 'origin_with_credentials'],
      ['a command as transport', take('ext::sh -c touch% /tmp/x'), 'invalid_input'],
      ['an option', take('--upload-pack=touch'), 'invalid_input'],
      ['a relative path', take('../origin'), 'invalid_input'],
      ['nobody there, at a host that is exempt', take('https://127.0.0.1:1/x.git'), 'origin_unreachable'],
      ['a folder as address', take(`file://${origin}`), 'invalid_input'],
      ['an address without encryption', take('http://example.org/x.git'), 'invalid_input'],
      ['the server itself by another name', take('https://localhost:1/x.git'), 'origin_refused'],
      ['a private address', take('https://10.0.0.1/x.git'), 'origin_refused'],
      ['a private address by ssh', take('git@192.168.1.1:x.git'), 'origin_refused'],
      ['a private address in disguise', take('ssh://git@0x7f000001/x.git'), 'origin_refused'],
      ['a private address of IPv6', take('git://[::ffff:10.0.0.1]/x.git'), 'origin_refused'],
      ['a metadata address', take('https://169.254.169.254/x.git'), 'origin_refused'],
      ['a shallow clone', take(join(folder, 'shallow')), 'origin_shallow'],
      ['no such project', call(importRepository, { body: { projectId: 'none', slug: 'app', source: origin } }), 'not_found'],
    ]
    expect(plain.body.error?.code).toBe('not_a_repository')
    for (const [what, answer, code] of cases) {
      const { status, body } = await answer
      expect(body.error?.code, what).toBe(code)
      expect(status, what).toBeGreaterThanOrEqual(400)
      expect(body.error?.remedy, what).not.toMatch(/\{\w+\}/)
    }
    expect((await call(listRepositories)).body.items).toEqual([])
    expect(await readdir(join(folder, 'home', 'repositories', 'demo')).catch(() => [])).toEqual([])
  })

  test('a push fast-forwards the origin, its clean work tree too, and forces nothing', async () => {
    const first = await take(origin)
    const path = (await call(showRepository, { params: { repositoryId: first.body.id } })).body.path
    const merge = async (text: string) => {
      const head = (await git(path, ['rev-parse', 'refs/heads/trunk'])).stdout.trim()
      const blob = (await git(path, ['hash-object', '-w', '--stdin'], { input: text })).stdout.trim()
      const tree = (await git(path, ['mktree'], { input: `100644 blob ${blob}\ta.txt\n` })).stdout.trim()
      const next = (await git(path, ['commit-tree', tree, '-p', head, '-m', text], { env: identity() })).stdout.trim()
      await compareAndSet(path, 'refs/heads/trunk', next, head)
      return next
    }
    const next = await merge('from swarm\n')
    expect(await call(pushRepository, { params: { repositoryId: first.body.id } })).toMatchObject({ status: 200, body: { head: next } })
    expect(await readFile(join(origin, 'a.txt'), 'utf8')).toBe('from swarm\n')
    await merge('again\n')
    await writeFile(join(origin, 'a.txt'), 'open work\n')
    expect(await call(pushRepository, { params: { repositoryId: first.body.id } })).toMatchObject({ status: 409, body: { error: { code: 'push_refused' } } })
    expect(await readFile(join(origin, 'a.txt'), 'utf8')).toBe('open work\n')
    await at(origin, 'commit', '-q', '-a', '-m', 'elsewhere')
    const theirs = await at(origin, 'rev-parse', 'HEAD')
    expect(await call(pushRepository, { params: { repositoryId: first.body.id } })).toMatchObject({ status: 409, body: { error: { code: 'push_refused', details: { problem: expect.stringContaining('does not have') } } } })
    expect(await at(origin, 'rev-parse', 'HEAD')).toBe(theirs)
    const made = await call(createRepository, { body: { projectId: 'demo', slug: 'fresh' } })
    expect(await call(pushRepository, { params: { repositoryId: made.body.id } })).toMatchObject({ status: 409, body: { error: { code: 'no_origin' } } })
  })

  test('a folder left by a stop before its row was written is taken as it is', async () => {
    const path = join(folder, 'home', 'repositories', 'demo', 'half.git')
    await mkdir(join(folder, 'home', 'repositories', 'demo'), { recursive: true })
    await createBare(path, 'main', async (draft) => { await commitFiles(draft, 'main', { 'README.md': 'x\n' }, 'x\n') })
    const made = await call(createRepository, { body: { projectId: 'demo', slug: 'half' } })
    expect(made.status).toBe(201)
    expect(made.body.head).toBe((await git(path, ['rev-parse', 'main'])).stdout.trim())
  })
})
