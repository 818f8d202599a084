import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { drainRunner, listRunners, listVms, removeRunner, showRunner, undrainRunner } from '@swarm/contract/endpoints/runners.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { claim, fail, registerRunner, status } from '@swarm/contract/runner-protocol.ts'
import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { startTestServer } from '../../testing.ts'
import { person } from '../../testing-people.ts'

const SINCE = { query: { since: 0 } }

eachDialect((_dialect, make) => {
  test('a drained host is given nothing new, keeps what it holds, says so, and gets work as soon as it is wanted again', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin } = server
    const project = await admin.call(createProject, { body: { slug: 'p' } })
    const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
    await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['true'] } } } })
    const ticket = async (title: string) => (await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title, agent: 'writer', scope: [`${title}/**`] } })).id
    const first = await ticket('one')
    const { id: runnerId, token } = await admin.call(registerRunner, { body: { name: 'local' } })
    const take = async (claimKey: string, waitMs = 0) => (await server.as(token).call(claim, { body: { waitMs, kinds: ['attempt', 'check'], driver: 'process', isolates: false, capacity: 2, bootId: 'boot-0001', claimKey } })).work
    const held = await take('key-00001')
    if (held?.kind !== 'attempt') throw new Error('no attempt was given')

    const second = await ticket('two')
    const asked = { params: { runnerId } }
    await expect((await person(server, 'USR-00000001', 'admin')).call(drainRunner, { ...asked, body: { reason: 'x' } })).rejects.toMatchObject({ status: 403 })
    await expect(server.as().call(drainRunner, { ...asked, body: { reason: 'x' } })).rejects.toMatchObject({ status: 401 })
    await expect(admin.call(drainRunner, { params: { runnerId: 'RUN-00000000' }, body: { reason: 'x' } })).rejects.toMatchObject({ status: 404 })
    expect((await admin.call(drainRunner, { ...asked, body: { reason: 'a new disk' } })).draining).toMatchObject({ by: 'admin admin', reason: 'a new disk' })
    expect((await admin.call(listRunners)).items[0]?.draining?.reason).toBe('a new disk')
    expect(await take('key-00002')).toBeNull()
    // A claim whose answer was lost is given what it was given.
    expect((await take('key-00001'))).toMatchObject({ kind: 'attempt', attemptId: held.attemptId })
    expect((await admin.call(showTicket, { params: { ticketId: second } })).waitsFor).toContain(`host local has room for no further one (it is drained; swarm runner undrain ${runnerId} gives it work again)`)
    expect(await admin.call(showRunner, { ...asked, ...SINCE })).toMatchObject({ held: 1, holds: [{ kind: 'attempt', id: held.attemptId, ticketId: first }], boots: [{ bootId: 'boot-0001', current: true }] })
    const outside = await (await person(server, 'USR-00000002')).call(showRunner, { ...asked, ...SINCE })
    expect([outside.held, outside.holds]).toEqual([1, []])

    const waiting = take('key-00003', 20_000)
    expect((await admin.call(undrainRunner, asked)).draining).toBeNull()
    expect(await waiting).toMatchObject({ kind: 'attempt' })
  })

  test('a host is taken away only when it is offline and holds nothing; its token opens nothing then, its history stays, and its name brings it back', async () => {
    await using place = await make()
    await using server = await startTestServer(place)
    const { admin, context: { db } } = server
    const project = await admin.call(createProject, { body: { slug: 'p' } })
    const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
    await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['true'] } } } })
    await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'one', agent: 'writer' } })
    const { id: runnerId, token } = await admin.call(registerRunner, { body: { name: 'local' } })
    const runner = server.as(token)
    const { work } = await runner.call(claim, { body: { waitMs: 0, kinds: ['attempt'], driver: 'process', isolates: false, capacity: 2, bootId: 'boot-0001', claimKey: 'key-00001' } })
    if (work?.kind !== 'attempt') throw new Error('no attempt was given')
    const key = { kind: 'attempt' as const, id: work.attemptId, fence: work.fence }
    const vm = { id: 'VM-00000001', driver: 'process', templateKey: 't', imageDigest: null }
    const tell = (sequence: number, state: 'running' | 'ended') => runner.call(status, { body: { ...key, sequence, activity: [], egressRefusals: [], vm: { ...vm, state, ...(state === 'ended' ? { endReason: 'finished' } : {}) } } })
    await tell(0, 'running')
    expect((await admin.call(listVms, { query: { runnerId, state: 'running' } })).items.map(({ id }) => id)).toEqual(['VM-00000001'])
    await db.write((trx) => trx.updateTable('vms').set({ paused: 1 }).execute())
    expect((await admin.call(showRunner, { params: { runnerId } })).vms).toEqual({ starting: 0, running: 0, paused: 1 })
    expect((await admin.call(listVms, { query: { state: 'paused', since: Date.now() } })).items).toHaveLength(1)
    expect((await admin.call(listVms, { query: { ticketId: 'TKT-00000000' } })).items).toEqual([])
    await tell(1, 'ended')
    expect((await admin.call(listVms, { query: { state: 'paused' } })).items).toEqual([])
    expect((await admin.call(listVms, { query: { since: Date.now() + 60_000 } })).items).toEqual([])

    const remove = () => admin.call(removeRunner, { params: { runnerId } })
    await expect(remove()).rejects.toMatchObject({ status: 409, code: 'runner_not_idle', message: 'The runner local is online.' })
    const silent = () => db.write((trx) => trx.updateTable('runners').set({ seen_at: 1 }).execute())
    await silent()
    await expect(remove()).rejects.toMatchObject({ code: 'runner_not_idle', message: `The runner local holds ${work.attemptId}.` })
    await runner.call(fail, { body: { ...key, failureClass: 'agent', reason: 'lost', message: '', wipSha: null } })
    await silent()
    await remove()
    await expect(remove()).rejects.toMatchObject({ status: 404 })
    await expect(runner.call(claim, { body: { waitMs: 0, kinds: ['attempt'], driver: 'process', isolates: false, capacity: 2, bootId: 'boot-0001', claimKey: 'key-00002' } })).rejects.toMatchObject({ status: 401 })
    expect((await admin.call(listRunners)).items).toEqual([])
    expect((await admin.call(registerRunner, { body: { name: 'local' } })).id).toBe(runnerId)
    expect((await admin.call(showRunner, { params: { runnerId } })).ended).toEqual([{ day: new Date().toISOString().slice(0, 10), reason: 'finished', vms: 1 }])
  })
})
