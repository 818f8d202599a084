import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listRunners } from '@swarm/contract/endpoints/runners.ts'
import { answerQuestion, createTicket, listQuestions, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { claim, fail, heartbeat, registerRunner, release } from '@swarm/contract/runner-protocol.ts'
import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { startTestServer } from '../../testing.ts'

eachDialect((_dialect, make) => {
  test('one name that many register at the same time is one runner; one project that many make is made once', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const registered = await Promise.all(Array.from({ length: 12 }, () => server.admin.call(registerRunner, { body: { name: 'local' } })))
    expect(new Set(registered.map(({ id }) => id)).size).toBe(1)
    const made = await Promise.allSettled(Array.from({ length: 12 }, () => server.admin.call(createProject, { body: { slug: 'p' } })))
    expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const each of made) if (each.status === 'rejected') expect(each.reason).toMatchObject({ code: 'name_taken' })
  })

  test('what a person answered one attempt is told to those after it', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin } = server
    const project = await admin.call(createProject, { body: { slug: 'p' } })
    const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
    await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['true'] } } } })
    await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Write', description: 'Write it.', agent: 'writer' } })
    const runner = server.as((await admin.call(registerRunner, { body: { name: 'local' } })).token)
    const take = async (claimKey: string) => {
      const { work } = await runner.call(claim, { body: { waitMs: 1_000, kinds: ['attempt'], driver: 'process', isolates: false, capacity: 1, bootId: 'boot-0001', claimKey } })
      if (work?.kind !== 'attempt') throw new Error('no attempt was given')
      return { key: { kind: 'attempt' as const, id: work.attemptId, fence: work.fence }, task: work.task }
    }
    const first = await take('key-00001')
    await runner.call(release, { body: { ...first.key, reason: 'question', wipSha: null, question: { text: 'Tabs or spaces?', options: [], toolUseId: 'tool-1', transcript: [] } } })
    const [question] = (await admin.call(listQuestions, { query: {} })).items
    await admin.call(answerQuestion, { params: { questionId: question?.id ?? '' }, body: { answer: 'Spaces, two.' } })
    const resumed = await take('key-00002')
    expect(resumed.task).toMatchObject({ resume: { answer: 'Spaces, two.' }, ticket: { description: 'Write it.' } })
    await runner.call(fail, { body: { ...resumed.key, failureClass: 'agent', reason: 'lost', message: '', wipSha: null } })
    const next = await take('key-00003')
    expect(next.task.resume).toBeUndefined()
    expect(next.task.ticket.description).toMatch(/^Write it\.[^]*Tabs or spaces\?[^]*Spaces, two\./)
  })

  test('a ticket that only waits for room says which host lacks what, until that host has room', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin } = server
    const project = await admin.call(createProject, { body: { slug: 'p' } })
    const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
    await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['true'] } } } })
    const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Write', agent: 'writer' } })
    const runner = server.as((await admin.call(registerRunner, { body: { name: 'local' } })).token)
    const beat = (bootId: string, noRoom: string | null) => runner.call(heartbeat, { body: { bootId, vms: [], holding: [], noRoom } })
    const shown = async () => [(await admin.call(listRunners)).items[0]?.noRoom, (await admin.call(showTicket, { params: { ticketId: ticket.id } })).waitsFor]
    const problem = '2.1 GB of memory free, 2.6 GB needed'
    const full = [problem, `room for a microVM: host local has room for no further one (${problem})`]
    await beat('boot-0001', problem)
    expect(await shown()).toEqual(full)
    await beat('boot-0001', null)
    expect(await shown()).toEqual([null, 'a free microVM'])
    await beat('boot-0001', problem)
    // A new process of the host has not looked yet; what the old one said is not true of it.
    await runner.call(claim, { body: { waitMs: 0, kinds: ['check'], driver: 'process', isolates: false, capacity: 1, bootId: 'boot-0002', claimKey: 'key-00001' } })
    expect(await shown()).toEqual([null, 'a free microVM'])
  })

  test('of what swarm.yml, agent and project state about a microVM the tightest holds, for attempts and for checks', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin, context: { db } } = server
    const project = await admin.call(createProject, { body: { slug: 'p', settings: { vm: { memoryMb: 700, egressBytes: 5_000, minutes: 7 } } } })
    const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\nlimits: { memoryMb: 900, cpu: 2, diskMb: 4096 }\n' } })
    await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['true'] }, vm: { cpu: 0.5, memoryMb: 8_000, outputBytes: 2_000 } } } })
    await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Write', agent: 'writer' } })
    const registered = await admin.call(registerRunner, { body: { name: 'local' } })
    const take = async (kind: 'attempt' | 'check') => (await server.as(registered.token).call(claim, { body: { waitMs: 1_000, kinds: [kind], driver: 'process', isolates: false, capacity: 1, bootId: 'boot-0001', claimKey: `key-${kind}` } })).work
    expect((await take('attempt'))?.limits).toEqual({ cpu: 0.5, memoryMb: 700, diskMb: 4096, minutes: 7, egressBytes: 5_000, pids: 1024, outputBytes: 2_000 })
    const plan = { setup: null, checks: [{ name: 'test', command: 'true' }], image: { packages: [], npm: [] }, egressAllow: [], limits: { cpu: 2, memoryMb: 900, diskMb: 4096, minutes: 30, egressBytes: 1_000_000, pids: 512 } }
    await db.write(async (trx) => {
      await trx.insertInto('check_runs').values({
        id: 'CHK-00000001', project_id: project.id, repository_id: repository.id, purpose: 'base', attempt_id: null, change_id: null, ticket_id: null, commit_sha: (await trx.selectFrom('attempts').select('base_sha').executeTakeFirstOrThrow()).base_sha, tree_sha: 'a'.repeat(40),
        plan: JSON.stringify(plan), plan_digest: 'x', state: 'queued', fence: 0, tries: 0, runner_id: null, claim_key: null, vm_id: null, lease_expires_at: null, status_sequence: -1,
        results: null, failure: null, correlation_id: 'c', created_at: 1, started_at: null, ended_at: null,
      }).execute()
    })
    expect((await take('check'))?.limits).toEqual({ cpu: 2, memoryMb: 700, diskMb: 4096, minutes: 7, egressBytes: 5_000, pids: 512, outputBytes: 16 * 1024 * 1024 })
  })

  test('the first claims of a new runner process, made at once, do not take back what one of them was just given', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin } = server
    await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['true'] } } } })
    for (let round = 0; round < 6; round++) {
      const project = await admin.call(createProject, { body: { slug: `p${round}` } })
      const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
      for (const title of ['One', 'Two']) await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title, agent: 'writer' } })
      const runner = server.as((await admin.call(registerRunner, { body: { name: `runner-${round}` } })).token)
      await Promise.all(Array.from({ length: 8 }, (_, n) => runner.call(claim, { body: { waitMs: 0, kinds: ['attempt'], driver: 'process', isolates: false, capacity: 8, bootId: `boot-000${round}`, claimKey: `key-0000${n}` } })))
    }
    const attempts = await server.context.db.read.selectFrom('attempts').select(['state', 'failure_reason']).execute()
    expect(attempts.length).toBeGreaterThan(0)
    expect(attempts.filter((attempt) => attempt.state !== 'running')).toEqual([])
  })

  test('what a microVM wrote is recorded whatever characters are in it, and a commit is a commit', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin } = server
    const project = await admin.call(createProject, { body: { slug: 'p' } })
    const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
    await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['true'] } } } })
    const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Write', agent: 'writer' } })
    const runner = server.as((await admin.call(registerRunner, { body: { name: 'local' } })).token)
    const { work } = await runner.call(claim, { body: { waitMs: 1_000, kinds: ['attempt'], driver: 'process', isolates: false, capacity: 1, bootId: 'boot-0001', claimKey: 'key-00001' } })
    if (work?.kind !== 'attempt') throw new Error('no attempt was given')
    const key = { kind: 'attempt' as const, id: work.attemptId, fence: work.fence }
    await expect(runner.call(fail, { body: { ...key, failureClass: 'agent', reason: 'x', message: '', wipSha: '--all' } })).rejects.toMatchObject({ status: 400 })
    await runner.call(fail, { body: { ...key, failureClass: 'agent', reason: 'n\0ul', message: 'a \0 b', wipSha: null } })
    expect((await admin.call(showTicket, { params: { ticketId: ticket.id } })).history[0]).toMatchObject({ state: 'failed', failureReason: 'n\uFFFDul', failureMessage: 'a \uFFFD b' })
  })
})
