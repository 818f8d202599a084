import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Client } from '@swarm/contract/client.ts'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { listChanges, showChange, type Change } from '@swarm/contract/endpoints/changes.ts'
import { createProject, type ProjectSettingsPatch } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listReviews, type ReviewStanding } from '@swarm/contract/endpoints/reviews.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { claim, complete, registerRunner, type AttemptWork, type Work } from '@swarm/contract/runner-protocol.ts'
import { git } from '@swarm/git/run.ts'
import { sqlitePlace, type TestDatabase } from '@swarm/server/db/testing.ts'
import { mintToken } from '@swarm/server/http/tokens.ts'
import { startTestServer, type TestServer } from '@swarm/server/testing.ts'
import { until } from './until.ts'

export interface ReviewWorld extends AsyncDisposable {
  readonly server: TestServer
  readonly home: string
  readonly path: string
  readonly projectId: string
  /** Calls as the project's one runner. */
  readonly runner: Client
  /** Calls as an administrator of this name, `admin <name>` in records. */
  as(name: string): Promise<Client>
  /** Makes a ticket, as `by` (the first admin unless given). */
  ticket(title: string, by?: Client): Promise<string>
  /** What a runner is given next; the ticket must be claimable. */
  claim(): Promise<AttemptWork>
  /** An attempt that hands in these files on top of where it starts (null: removed), whose checks pass; its head. */
  handIn(files: Readonly<Record<string, string | null>>): Promise<{ head: string; work: AttemptWork }>
  /** The ticket's change, once somebody is asked about its head. */
  asked(ticketId: string): Promise<{ change: Change; standing: ReviewStanding }>
  state(ticketId: string): Promise<string>
  until(condition: () => Promise<boolean>): Promise<void>
}

/** The whole server with a project whose repository holds these files; the test is runner, agent and people. @param given null: a place of its own */
export async function reviewWorld(given: TestDatabase | null, options: { settings?: ProjectSettingsPatch; server?: Record<string, unknown>; files?: Readonly<Record<string, string>> } = {}): Promise<ReviewWorld> {
  await using started = new AsyncDisposableStack()
  const place = given ?? started.use(await sqlitePlace())
  const server = started.use(await startTestServer(place, options.server === undefined ? {} : { settings: options.server }))
  const { admin } = server
  const { db } = server.context
  const project = await admin.call(createProject, { body: { slug: 'p', ...(options.settings ? { settings: options.settings } : {}) } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
  const { path } = await admin.call(showRepository, { params: { repositoryId: repository.id } })
  await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['true'] } } } })
  const runner = server.as((await admin.call(registerRunner, { body: { name: 'local' } })).token)
  const bootId = randomUUID()
  const take = async (kind: 'attempt' | 'check'): Promise<Work> => {
    const { work } = await runner.call(claim, { body: { waitMs: 20_000, kinds: [kind], driver: 'process', isolates: false, capacity: 9, bootId, claimKey: randomUUID() } })
    if (work?.kind !== kind) throw new Error(`no ${kind} was given`)
    return work
  }
  const commit = async (parent: string, files: Readonly<Record<string, string | null>>): Promise<string> => {
    const index = { GIT_INDEX_FILE: join(path, `index-${randomUUID()}`) }
    await git(path, ['read-tree', parent], { env: index })
    for (const [name, text] of Object.entries(files)) {
      const blob = text === null ? '0'.repeat(40) : (await git(path, ['hash-object', '-w', '--stdin'], { input: text })).stdout.trim()
      await git(path, ['update-index', '--index-info'], { env: index, input: `${text === null ? '0' : '100644'} ${blob}\t${name}\n` })
    }
    const tree = (await git(path, ['write-tree'], { env: index })).stdout.trim()
    await rm(index.GIT_INDEX_FILE, { force: true })
    const who = { GIT_AUTHOR_NAME: 'test', GIT_AUTHOR_EMAIL: 'test@localhost', GIT_COMMITTER_NAME: 'test', GIT_COMMITTER_EMAIL: 'test@localhost' }
    return (await git(path, ['commit-tree', tree, '-p', parent, '-m', 'work'], { env: who })).stdout.trim()
  }
  if (options.files) await git(path, ['update-ref', 'refs/heads/main', await commit('refs/heads/main', options.files)])
  const attempt = async (): Promise<AttemptWork> => {
    const work = await take('attempt')
    if (work.kind !== 'attempt') throw new Error('no attempt was given')
    return work
  }
  const world: Omit<ReviewWorld, typeof Symbol.asyncDispose> = {
    server, home: place.home, path, projectId: project.id, runner,
    as: async (name) => server.as((await db.write((trx) => mintToken(trx, { kind: 'admin', subjectId: name }))).token),
    ticket: async (title, by = admin) => (await by.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title, description: `Do it: ${title}.`, acceptance: ['it works'], agent: 'writer' } })).id,
    claim: attempt,
    async handIn(files) {
      const work = await attempt()
      const head = await commit(work.startSha, files)
      await git(path, ['update-ref', `refs/swarm/attempts/${work.attemptId}/work`, head])
      await runner.call(complete, { body: { kind: 'attempt', id: work.attemptId, fence: work.fence, headSha: head, summary: 'done' } })
      const check = await take('check')
      if (check.kind !== 'check') throw new Error('no check was given')
      await runner.call(complete, { body: { kind: 'check', id: check.checkId, fence: check.fence, passed: true, results: check.checks.map(({ name, command }) => ({ name, command, exitCode: 0, timedOut: false, wallMs: 1, output: '' })) } })
      return { head, work }
    },
    async asked(ticketId) {
      let found: { change: Change; standing: ReviewStanding } | undefined
      await until(server.context, async () => {
        const [change] = (await admin.call(listChanges, { query: { ticketId } })).items
        const standing = change && (await admin.call(listReviews, { params: { changeId: change.id }, query: {} })).standing
        if (change && standing?.approval) found = { change, standing }
        return found !== undefined
      }, 20_000)
      if (!found) throw new Error('nobody was asked')
      return { ...found, change: await admin.call(showChange, { params: { changeId: found.change.id } }) }
    },
    state: async (ticketId) => (await admin.call(showTicket, { params: { ticketId } })).state,
    until: (condition) => until(server.context, condition, 20_000),
  }
  const running = started.move()
  return { ...world, [Symbol.asyncDispose]: () => running.disposeAsync() }
}
