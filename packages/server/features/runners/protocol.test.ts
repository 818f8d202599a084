import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { claim, fail, registerRunner } from '@swarm/contract/runner-protocol.ts'
import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { startTestServer } from '../../testing.ts'

eachDialect((_dialect, make) => {
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
