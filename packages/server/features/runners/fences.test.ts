import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listVms } from '@swarm/contract/endpoints/runners.ts'
import { createTicket, holdTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { claim, complete, fail, heartbeat, registerRunner, release, status } from '@swarm/contract/runner-protocol.ts'
import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import { eachDialect, type TestDatabase } from '../../db/testing.ts'
import { identity } from '../../integrations/builtin-code-host/bare.ts'
import { startTestServer, type TestServer } from '../../testing.ts'

const BOOT = 'boot-0001'
const SHA = 'a'.repeat(40)
const STALE = { status: 409, code: 'stale_fence' }

/** A server with one ticket, and a runner that has claimed it. */
async function claimed(place: TestDatabase, settings: Record<string, unknown> = {}) {
  const server = await startTestServer(place, { settings })
  const { admin } = server
  const project = await admin.call(createProject, { body: { slug: 'p' } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
  await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['true'] } } } })
  const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Write', agent: 'writer' } })
  const registered = await admin.call(registerRunner, { body: { name: 'local' } })
  const runner = server.as(registered.token)
  const take = async (bootId: string, claimKey: string) => {
    const { work } = await runner.call(claim, { body: { waitMs: 0, kinds: ['attempt'], driver: 'process', isolates: false, capacity: 1, bootId, claimKey } })
    return work?.kind === 'attempt' ? { key: { kind: 'attempt' as const, id: work.attemptId, fence: work.fence }, work } : null
  }
  const first = await take(BOOT, 'key-00001')
  if (first === null) throw new Error('no attempt was given')
  return { server, admin, runner, runnerId: registered.id, project, repository, ticket, take, ...first, show: () => admin.call(showTicket, { params: { ticketId: ticket.id } }) }
}

/** Waits for a condition that a duty of the server brings about. */
async function eventually(server: TestServer, condition: () => Promise<boolean>): Promise<void> {
  using latch = server.context.db.wake.latch('events')
  while (!await condition()) await latch.wait({ timeoutMs: 200 })
}

eachDialect((_dialect, make) => {
  test('every write of a runner with a fence that is not the current one is refused and changes nothing', async () => {
    await using place = await make()
    const { server, runner, key, show } = await claimed(place)
    await using _server = server
    const before = await show()
    const vm = { id: 'VM-00000001', state: 'running' as const, driver: 'process', templateKey: 'k' }
    for (const stale of [{ ...key, fence: key.fence + 1 }, { ...key, fence: key.fence - 1 }]) {
      await expect(runner.call(status, { body: { ...stale, sequence: 0, step: { name: 'agent', state: 'started' }, vm, wipSha: SHA } })).rejects.toMatchObject(STALE)
      await expect(runner.call(status, { body: { ...stale, sequence: 0, vm: { ...vm, state: 'ended' } } })).rejects.toMatchObject(STALE)
      await expect(runner.call(complete, { body: { ...stale, headSha: SHA, summary: '' } })).rejects.toMatchObject(STALE)
      await expect(runner.call(fail, { body: { ...stale, failureClass: 'agent', reason: 'x', message: '', wipSha: null } })).rejects.toMatchObject(STALE)
      await expect(runner.call(release, { body: { ...stale, reason: 'shutdown', wipSha: null } })).rejects.toMatchObject(STALE)
      expect(await runner.call(heartbeat, { body: { bootId: BOOT, vms: [], holding: [{ ...stale, vmId: null, idleMs: null }] } })).toEqual({ stop: [{ id: key.id, code: 'lost', reason: 'the lease is gone' }] })
    }
    expect(await show()).toEqual(before)
    expect(await server.context.db.read.selectFrom('vms').selectAll().execute()).toEqual([])
  })

  test('what was pushed last is what the next attempt starts from, also when only an earlier checkpoint was journaled', async () => {
    await using place = await make()
    const { server, admin, runner, repository, key, work, take } = await claimed(place)
    await using _server = server
    const { path } = await admin.call(showRepository, { params: { repositoryId: repository.id } })
    const commit = async (text: string): Promise<string> => {
      const blob = (await git(path, ['hash-object', '-w', '--stdin'], { input: text })).stdout.trim()
      const tree = (await git(path, ['mktree'], { input: `100644 blob ${blob}\twork.txt\n` })).stdout.trim()
      return (await git(path, ['commit-tree', tree, '-p', work.startSha, '-m', text], { env: identity() })).stdout.trim()
    }
    const [first, second] = [await commit('first\n'), await commit('second\n')]
    const ref = `refs/swarm/attempts/${key.id}/work`
    await git(path, ['update-ref', '--create-reflog', ref, first])
    await runner.call(status, { body: { ...key, sequence: 0, wipSha: first } })
    await git(path, ['update-ref', '--create-reflog', ref, second])
    // The retry of a lost attempt waits a second.
    await take('boot-0002', 'key-00002')
    let again = null as Awaited<ReturnType<typeof take>>
    await eventually(server, async () => (again = await take('boot-0002', 'key-00003')) !== null)
    expect(again?.work).toMatchObject({ attemptNumber: 2, baseSha: work.baseSha, startSha: second })
    expect((await take('boot-0002', 'key-00003'))?.work).toMatchObject({ attemptId: again?.work.attemptId, startSha: second })
  })

  test('reports about a check are fenced like those about an attempt, and counted once', async () => {
    await using place = await make()
    const { server, runner, runnerId, project, repository } = await claimed(place)
    await using _server = server
    const { db } = server.context
    await db.write(async (trx) => {
      await trx.insertInto('check_runs').values({
        id: 'CHK-00000001', project_id: project.id, repository_id: repository.id, purpose: 'base', attempt_id: null, change_id: null, ticket_id: null, commit_sha: SHA, tree_sha: SHA,
        plan: '{}', plan_digest: 'x', state: 'running', fence: 3, tries: 1, runner_id: runnerId, claim_key: 'k', vm_id: null, lease_expires_at: Date.now() + 60_000, status_sequence: -1,
        results: null, failure: null, correlation_id: 'c', created_at: 1, started_at: 1, ended_at: null,
      }).execute()
    })
    const row = () => db.read.selectFrom('check_runs').selectAll().where('id', '=', 'CHK-00000001').executeTakeFirstOrThrow()
    const before = await row()
    const key = { kind: 'check' as const, id: before.id }
    const report = { sequence: 0, step: { name: 'checks', state: 'started' as const } }
    await expect(runner.call(status, { body: { ...key, fence: 2, ...report } })).rejects.toMatchObject(STALE)
    await expect(runner.call(complete, { body: { ...key, fence: 2, results: [], passed: true } })).rejects.toMatchObject(STALE)
    const other = server.as((await server.admin.call(registerRunner, { body: { name: 'other' } })).token)
    expect(await other.call(heartbeat, { body: { bootId: 'boot-other', vms: [], holding: [{ ...key, fence: 3, vmId: null, idleMs: null }] } })).toMatchObject({ stop: [{ code: 'lost' }] })
    expect(await row()).toEqual(before)
    expect(await runner.call(status, { body: { ...key, fence: 3, ...report } })).toEqual({ recorded: true })
    expect(await runner.call(status, { body: { ...key, fence: 3, ...report } })).toEqual({ recorded: false })
  })

  test('a process that a newer one of its runner has replaced gets no work, renews no lease and takes nothing back, whenever its requests arrive', async () => {
    await using place = await make()
    const { server, runner, take, show } = await claimed(place)
    await using _server = server
    await take('boot-0002', 'key-00002') // takes back what the first process held
    expect((await show()).history).toMatchObject([{ state: 'failed', failureReason: 'runner_restarted' }])
    const second = await eventuallyTaken(server, () => take('boot-0002', 'key-00003'))
    await expect(take(BOOT, 'key-00004')).rejects.toMatchObject({ status: 409, code: 'runner_superseded' })
    await expect(runner.call(heartbeat, { body: { bootId: BOOT, vms: [], holding: [] } })).rejects.toMatchObject({ status: 409, code: 'runner_superseded' })
    expect(await server.context.db.read.selectFrom('attempts').select('state').where('id', '=', second.key.id).executeTakeFirstOrThrow()).toEqual({ state: 'running' })
  })

  test('an attempt whose last push is journaled is complete when its runner restarts before it could say so', async () => {
    await using place = await make()
    const { server, runner, key, take, work, show } = await claimed(place)
    await using _server = server
    await runner.call(status, { body: { ...key, sequence: 0, step: { name: 'agent', state: 'started' } } })
    await runner.call(status, { body: { ...key, sequence: 1, step: { name: 'agent', state: 'done', detail: 'finished' }, activity: [{ type: 'finished', summary: 'It is written.' }] } })
    await runner.call(status, { body: { ...key, sequence: 2, step: { name: 'publish', state: 'done', detail: work.startSha } } })
    await take('boot-0002', 'key-00002')
    const attempts = await server.context.db.read.selectFrom('attempts').select(['id', 'head_sha', 'summary', 'failure_class']).execute()
    expect(attempts).toMatchObject([{ id: key.id, head_sha: work.startSha, summary: 'It is written.' }])
    expect(attempts[0]?.failure_class).not.toBe('infrastructure')
    // The word of it may still be on its way.
    await eventually(server, async () => (await show()).state !== 'verifying')
    await expect(runner.call(complete, { body: { ...key, headSha: work.startSha, summary: 'It is written.' } })).rejects.toMatchObject(STALE)
  })

  test('an agent that shows no progress is told to stop and fails as stalled, with its work; one that waits for the model does not', async () => {
    await using place = await make()
    const { server, runner, key, show } = await claimed(place, { 'lease.stallMs': 400 })
    await using _server = server
    const beat = async (idleMs: number) => (await runner.call(heartbeat, { body: { bootId: BOOT, vms: [], holding: [{ ...key, vmId: null, idleMs }] } })).stop
    await runner.call(status, { body: { ...key, sequence: 0, step: { name: 'agent', state: 'started' } } })
    for (const until = Date.now() + 1_000; Date.now() < until;) expect(await beat(0)).toEqual([])
    await eventually(server, async () => (await beat(10_000)).length > 0)
    expect(await beat(0)).toEqual([{ id: key.id, code: 'stalled', reason: 'stalled' }])
    await runner.call(fail, { body: { ...key, failureClass: 'agent', reason: 'stalled', message: '', wipSha: SHA } })
    expect((await show()).history).toMatchObject([{ state: 'failed', failureClass: 'agent', failureReason: 'stalled' }])
  })

  test.each(['stale_fence', 'lost', 'stalled'])('a person who holds a ticket for the reason "%s" stops its work, whatever the words mean to a program', async (reason) => {
    await using place = await make()
    const { server, admin, ticket, runner, key, show } = await claimed(place)
    await using _server = server
    await admin.call(holdTicket, { params: { ticketId: ticket.id }, body: { reason } })
    expect(await runner.call(heartbeat, { body: { bootId: BOOT, vms: [], holding: [{ ...key, vmId: null, idleMs: null }] } })).toEqual({ stop: [{ id: key.id, code: 'stopped', reason }] })
    await runner.call(release, { body: { ...key, reason: 'shutdown', wipSha: SHA } })
    expect(await show()).toMatchObject({ state: 'on_hold', history: [{ state: 'cancelled', failureClass: null, failureReason: reason }] })
  })

  test('a microVM that its runner no longer has, or whose runner is silent, is recorded as ended', async () => {
    await using place = await make()
    const { server, admin, runner, key } = await claimed(place, { 'lease.ttlMs': 3_000 })
    await using _server = server
    const start = (id: string, sequence: number) => runner.call(status, { body: { ...key, sequence, vm: { id, state: 'running', driver: 'process', templateKey: 'k' } } })
    const beat = (vms: string[]) => runner.call(heartbeat, { body: { bootId: BOOT, vms, holding: [{ ...key, vmId: null, idleMs: 0 }] } })
    const reasons = async () => Object.fromEntries((await admin.call(listVms)).items.map((vm) => [vm.id, vm.endReason]))
    await start('VM-00000001', 0)
    await start('VM-00000002', 1)
    await eventually(server, async () => {
      await beat(['VM-00000001'])
      return (await reasons())['VM-00000002'] === 'its runner no longer has it'
    })
    expect((await reasons())['VM-00000001']).toBeNull()
    await eventually(server, async () => (await reasons())['VM-00000001'] === 'its runner was not heard from within the lease')
  })
})

async function eventuallyTaken<T>(server: TestServer, take: () => Promise<T | null>): Promise<T> {
  let taken: T | null = null
  await eventually(server, async () => (taken ??= await take()) !== null)
  if (taken === null) throw new Error('no attempt was given')
  return taken
}
