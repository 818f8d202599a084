import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listVms } from '@swarm/contract/endpoints/runners.ts'
import { createTicket } from '@swarm/contract/endpoints/tickets.ts'
import { forkVm, killVm, pauseVm, resumeVm, showVm, vmLogs, vmSamples, vmTotals } from '@swarm/contract/endpoints/vms.ts'
import { LiveMessage } from '@swarm/contract/live-events.ts'
import { claim, heartbeat, registerRunner, status, VM_END_REASONS, type VmUsage } from '@swarm/contract/runner-protocol.ts'
import { endOperation, MAX_CHUNK_BYTES, nextOperations, STREAM_CLOSE_CODES, STREAM_WINDOW_BYTES } from '@swarm/contract/vm-operations.ts'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { eachDialect, type TestDatabase } from '../../db/testing.ts'
import { readSettled } from '../../events/testing.ts'
import { startTestServer } from '../../testing.ts'
import { removeSamples } from './queries.ts'

const BOOT = 'boot-0001'
const VM = 'VM-00000001'
const usage = (more: Partial<VmUsage> = {}): VmUsage => ({ vmId: VM, cpuMs: 1_000, rssBytes: 300, pssBytes: 100, scratchBytes: 50, egressBytes: 7, openForwards: 1, uptimeMs: 4_000, paused: false, ...more })

/** A server, and a runner that works on a ticket in a microVM. */
async function working(place: TestDatabase) {
  const server = await startTestServer(place)
  const { admin } = server
  const project = await admin.call(createProject, { body: { slug: 'p' } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
  await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['true'] } } } })
  const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Write', agent: 'writer' } })
  const registered = await admin.call(registerRunner, { body: { name: 'local' } })
  const runner = server.as(registered.token)
  const { work } = await runner.call(claim, { body: { waitMs: 1_000, kinds: ['attempt'], driver: 'process', isolates: false, capacity: 1, bootId: BOOT, claimKey: 'key-00001' } })
  if (work?.kind !== 'attempt') throw new Error('no attempt was given')
  const key = { kind: 'attempt' as const, id: work.attemptId, fence: work.fence }
  const about = { id: VM, driver: 'process', templateKey: 'k'.repeat(64), size: { vcpus: 1, memoryMb: 512, scratchMb: 1_024 }, limits: { pids: 100 } }
  await runner.call(status, { body: { ...key, sequence: 0, vm: { ...about, state: 'running', restoreMs: 812.4 } } })
  const beat = (measured: VmUsage[]) => runner.call(heartbeat, { body: { bootId: BOOT, vms: [VM], holding: [], usage: measured } })
  const next = (bootId = BOOT, waitMs = 0) => runner.call(nextOperations, { body: { bootId, waitMs } })
  const show = () => admin.call(showVm, { params: { vmId: VM } })
  return { server, admin, runner, runnerToken: registered.token, runnerId: registered.id, project, ticket, key, about, beat, next, show }
}

/** Sockets of a person who has something run in the microVM, and of the runner that runs it. */
function streamsOf({ server, next, runnerToken }: Pick<Awaited<ReturnType<typeof working>>, 'server' | 'next' | 'runnerToken'>) {
  const START = { type: 'start', kind: 'exec', argv: ['true'], timeoutMs: 1_000, maxOutputBytes: 1_000, terminal: null }
  const open = (path: string, token: string) => {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}${path}`, { headers: { authorization: `Bearer ${token}` } })
    const texts: Record<string, unknown>[] = []
    const chunks: string[] = []
    socket.on('message', (data, isBinary) => { if (isBinary) chunks.push(String(data)); else texts.push(JSON.parse(String(data)) as Record<string, unknown>) })
    const closed = once(socket, 'close') as Promise<[number, Buffer]>
    closed.catch(() => {}) // one that is refused
    return { socket, texts, chunks, closed, opened: once(socket, 'open') }
  }
  const begin = async (start: object) => {
    const client = open(`/api/vms/${VM}/exec`, server.adminToken)
    await client.opened
    client.socket.send(JSON.stringify({ ...START, ...start }))
    return client
  }
  const join = async () => {
    const runner = open(`/operations/${(await next(BOOT, 10_000)).operations[0]?.id ?? ''}/stream`, runnerToken)
    await expect.poll(() => runner.texts).toEqual([{ type: 'go' }])
    return runner
  }
  return { START, open, begin, join }
}

eachDialect((_dialect, make) => {
  test('what a runner measures is the current value of its own microVMs, a series, and part of the totals', async () => {
    await using place = await make()
    const { server, admin, beat, show, project, ticket, runnerId, runner, key, about } = await working(place)
    await using _server = server
    expect(await show()).toMatchObject({ state: 'running', runnerName: 'local', ticketId: ticket.id, ticketTitle: 'Write', restoreMs: 812, size: { memoryMb: 512 }, limits: { pids: 100 }, usage: null, paused: false, parentId: null, operations: [] })
    await beat([usage(), usage({ vmId: 'VM-FOREIGN1' })])
    await beat([usage({ cpuMs: 2_000, uptimeMs: 6_000, rssBytes: 200, egressBytes: 17 })])
    expect((await show()).usage).toMatchObject({ cpuMs: 2_000, cpuMillicores: 500, rssBytes: 200, peakRssBytes: 300, egressBytes: 17, openForwards: 1, paused: false })
    // The second one came too soon to be kept.
    expect((await admin.call(vmSamples, { params: { vmId: VM } })).items).toMatchObject([{ cpuMs: 1_000, cpuMillicores: 250, pssBytes: 100 }])
    const all = { vms: 1, measured: 1, paused: 0, cpuMillicores: 500, rssBytes: 200, pssBytes: 100, scratchBytes: 50, openForwards: 1, cpuMs: 2_000, egressBytes: 17 }
    expect(await admin.call(vmTotals)).toMatchObject({ total: all, runners: [{ runnerId, name: 'local', ...all }], projects: [{ projectId: project.id, slug: 'p', ...all }] })
    expect((await admin.call(listVms, { query: { state: 'running' } })).items).toMatchObject([{ id: VM, usage: { cpuMs: 2_000 } }])
    const metrics = await server.context.metrics.registry.metrics()
    for (const line of ['swarm_vms{runner="local",driver="process",state="running"} 1', 'swarm_vm_cpu_seconds_total{runner="local",driver="process"} 2', 'swarm_vm_egress_bytes_total{runner="local",driver="process"} 17', 'swarm_vm_memory_pss_bytes{runner="local",driver="process"} 100', 'swarm_vm_restore_seconds_sum{driver="process"} 0.8124']) expect(metrics).toContain(line)
    expect(metrics).not.toContain(VM)

    await runner.call(status, { body: { ...key, sequence: 1, vm: { ...about, state: 'ended', endReason: 'crashed', endDetail: 'it burnt', usage: usage({ cpuMs: 2_500, uptimeMs: 7_000 }) } } })
    await beat([usage({ cpuMs: 9_000, uptimeMs: 90_000 })])
    expect(await show()).toMatchObject({ state: 'ended', endReason: 'crashed', endDetail: 'it burnt', usage: { cpuMs: 2_500 } })
    expect(await admin.call(vmTotals)).toMatchObject({ total: { vms: 0, rssBytes: 0 }, runners: [], projects: [] })
    const after = await server.context.metrics.registry.metrics()
    expect(after).toContain('swarm_vms_ended_total{driver="process",reason="crashed"} 1')
    expect(after).not.toContain('swarm_vms{')
    await expect(admin.call(showVm, { params: { vmId: 'VM-FOREIGN1' } })).rejects.toMatchObject({ status: 404, code: 'not_found' })
  })

  test('an end is counted under its reason, and under none that a runner made up', async () => {
    await using place = await make()
    const { server, runner, key, about } = await working(place)
    await using _server = server
    for (const [at, endReason] of [...VM_END_REASONS, 'my own words'].entries()) {
      const vm = { ...about, id: `VM-ENDED00${at}` }
      await runner.call(status, { body: { ...key, sequence: at * 2 + 1, vm: { ...vm, state: 'running' } } })
      await runner.call(status, { body: { ...key, sequence: at * 2 + 2, vm: { ...vm, state: 'ended', endReason } } })
    }
    const metrics = await server.context.metrics.registry.metrics()
    for (const reason of ['stuck', ...VM_END_REASONS, 'lost']) expect(metrics).toContain(`swarm_vms_ended_total{driver="process",reason="${reason}"} 1`)
  })

  test('samples that are too old go, the newest stay', async () => {
    await using place = await make()
    const { server, beat } = await working(place)
    await using _server = server
    const { db } = server.context
    await beat([usage()])
    const [row] = await db.read.selectFrom('vm_samples').selectAll().execute()
    await db.write((trx) => trx.insertInto('vm_samples').values([1, 2, 3, 4].map((at) => ({ ...row!, at }))).execute())
    expect(await db.write((trx) => removeSamples(trx, 4, 2))).toBe(2)
    expect(await db.write((trx) => removeSamples(trx, 4, 2))).toBe(1)
    expect(await db.write((trx) => removeSamples(trx, 4, 2))).toBe(0)
    expect((await db.read.selectFrom('vm_samples').select('at').orderBy('at').execute()).map(({ at }) => Number(at))).toEqual([4, row!.at])
  })

  test('a live client in the room of microVMs hears what they use, at first all of it', async () => {
    await using place = await make()
    const { server, beat } = await working(place)
    await using _server = server
    await beat([usage()])
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws`, { headers: { authorization: `Bearer ${server.adminToken}` } })
    const heard: LiveMessage[] = []
    socket.on('message', (data) => heard.push(LiveMessage.parse(JSON.parse(String(data)))))
    await once(socket, 'open')
    socket.send(JSON.stringify({ subscribe: { rooms: ['vms'], cursor: null } }))
    const measured = () => heard.flatMap((message) => message.type === 'vm_usage' ? message.items.map(({ vmId, cpuMs }) => [vmId, cpuMs]) : [])
    await expect.poll(measured, { timeout: 10_000 }).toEqual([[VM, 1_000]])
    await beat([usage({ cpuMs: 1_500, uptimeMs: 5_000 })])
    await expect.poll(measured, { timeout: 10_000 }).toEqual([[VM, 1_000], [VM, 1_500]])
    socket.terminate()
  })

  test('an operation is given once, to the process that has the microVM, and recorded with who asked and what came of it', async () => {
    await using place = await make()
    const { server, admin, runner, next, show, ticket } = await working(place)
    await using _server = server
    const killing = admin.call(killVm, { params: { vmId: VM }, body: { reason: 'it is haunted' } })
    await expect.poll(async () => (await show()).operations.length).toBe(1)
    expect(await next('boot-0000')).toEqual({ operations: [] })
    const given = (await Promise.all([next(), next()])).flatMap(({ operations }) => operations)
    expect(given).toMatchObject([{ vmId: VM, input: { kind: 'kill', reason: 'it is haunted' } }])
    const operationId = given[0]!.id
    const other = server.as((await admin.call(registerRunner, { body: { name: 'other' } })).token)
    await expect(other.call(endOperation, { body: { operationId, failure: null } })).rejects.toMatchObject({ status: 404 })
    expect(await runner.call(endOperation, { body: { operationId, failure: null } })).toEqual({ recorded: true })
    expect(await runner.call(endOperation, { body: { operationId, failure: 'late' } })).toEqual({ recorded: false })
    expect(await killing).toMatchObject({ id: operationId, kind: 'kill', state: 'done', failure: null, requestedBy: expect.stringMatching(/^admin /) as string })
    const { events } = await readSettled(server.context.db, null, 1_000, { types: ['vm:operation'] })
    expect(events.map(({ data, subject }) => ({ ...data, vm: subject.id }))).toMatchObject(['queued', 'done'].map((state) => ({ vm: VM, operationId, kind: 'kill', state, reason: 'it is haunted', ticketId: ticket.id })))
  })

  test('a pause is part of the record of the microVM once its runner has done it, and what fails says why', async () => {
    await using place = await make()
    const { server, admin, runner, next, show } = await working(place)
    await using _server = server
    const answer = async (failure: string | null) => { await runner.call(endOperation, { body: { operationId: (await next(BOOT, 10_000)).operations[0]?.id ?? '', failure } }) }
    await Promise.all([admin.call(pauseVm, { params: { vmId: VM }, body: {} }), answer(null)])
    expect(await show()).toMatchObject({ state: 'running', paused: true })
    expect(await admin.call(vmTotals)).toMatchObject({ total: { vms: 1, paused: 1 } })
    const [refused] = await Promise.allSettled([admin.call(resumeVm, { params: { vmId: VM }, body: {} }), answer('no answer from the guest')])
    expect(refused).toMatchObject({ status: 'rejected', reason: { status: 409, code: 'vm_operation_failed', message: `resume of microVM ${VM} failed: no answer from the guest` } })
    expect((await show()).paused).toBe(true)
    await Promise.all([admin.call(resumeVm, { params: { vmId: VM }, body: {} }), answer(null)])
    expect((await show()).paused).toBe(false)
    const { events } = await readSettled(server.context.db, null, 1_000, { types: ['vm:update'] })
    expect(events.map(({ data }) => [data['state'], data['paused']])).toEqual([['running', undefined], ['running', true], ['running', false]])
  })

  test('whether a microVM is paused follows its runner, also when nobody waited any more for the pause', async () => {
    await using place = await make()
    const { server, admin, next, show, beat, runner } = await working(place)
    await using _server = server
    const { db } = server.context
    const pausing = admin.call(pauseVm, { params: { vmId: VM }, body: {} })
    const [operation] = (await next(BOOT, 10_000)).operations
    await db.write((trx) => trx.updateTable('vm_operations').set({ expires_at: 1 }).execute())
    db.wake.emit('vm-operations')
    await expect(pausing).rejects.toMatchObject({ code: 'vm_operation_expired' })
    expect(await runner.call(endOperation, { body: { operationId: operation!.id, failure: null } })).toEqual({ recorded: false })
    expect((await show()).paused).toBe(false)
    await beat([usage({ paused: true })])
    expect(await show()).toMatchObject({ paused: true, usage: { paused: true } })
    await beat([usage({ paused: true })])
    await beat([usage()])
    expect((await show()).paused).toBe(false)
    // One that was on its way while the pause was reported.
    await Promise.all([admin.call(pauseVm, { params: { vmId: VM }, body: {} }), next(BOOT, 10_000).then(({ operations }) => runner.call(endOperation, { body: { operationId: operations[0]!.id, failure: null } }))])
    await beat([usage()])
    expect((await show()).paused).toBe(true)
    const { events } = await readSettled(db, null, 1_000, { types: ['vm:update'] })
    expect(events.map(({ data }) => data['paused'])).toEqual([undefined, true, false, true])
  })

  test('forks are microVMs on record, of the operation that made them, until they are ended', async () => {
    await using place = await make()
    const { server, admin, runner, next, ticket, project } = await working(place)
    await using _server = server
    const forking = admin.call(forkVm, { params: { vmId: VM }, body: { count: 2, minutes: 5 } })
    const [operation] = (await next(BOOT, 10_000)).operations
    expect(operation).toMatchObject({ vmId: VM, input: { kind: 'fork', count: 2, wallMs: 300_000 } })
    const limits = { pids: 100, wallMs: 300_000 }
    await runner.call(endOperation, { body: { operationId: operation!.id, failure: null, forked: ['VM-CHILD001', 'VM-CHILD002'].map((id) => ({ id, restoreMs: 4_000.6, limits })) } })
    expect(await forking).toMatchObject({ operation: { kind: 'fork', state: 'done' }, vmIds: ['VM-CHILD001', 'VM-CHILD002'] })
    const child = () => admin.call(showVm, { params: { vmId: 'VM-CHILD001' } })
    expect(await child()).toMatchObject({ state: 'running', parentId: VM, workKind: 'fork', workId: operation!.id, ticketId: ticket.id, projectId: project.id, size: { memoryMb: 512 }, limits, restoreMs: 4_001 })
    await Promise.all([admin.call(killVm, { params: { vmId: 'VM-CHILD001' }, body: { reason: 'seen enough' } }), next(BOOT, 10_000).then(({ operations }) => runner.call(endOperation, { body: { operationId: operations[0]!.id, failure: null } }))])
    expect(await child()).toMatchObject({ state: 'ended', endReason: 'killed', endDetail: 'seen enough' })
    expect((await admin.call(listVms, { query: { state: 'running' } })).items.map(({ id }) => id).toSorted()).toEqual([VM, 'VM-CHILD002'])
  })

  test('a report that is repeated, since its answer was lost, is answered as it was; another one is not recorded', async () => {
    await using place = await make()
    const { server, admin, runner, next } = await working(place)
    await using _server = server
    const forking = admin.call(forkVm, { params: { vmId: VM }, body: { count: 2, minutes: 5 } })
    const [operation] = (await next(BOOT, 10_000)).operations
    const report = (ids: string[], failure: string | null = null) => runner.call(endOperation, { body: { operationId: operation!.id, failure, forked: ids.map((id) => ({ id, restoreMs: 4_000, limits: {} })) } })
    expect(await report(['VM-CHILD002', 'VM-CHILD001'])).toEqual({ recorded: true })
    await forking
    expect(await report(['VM-CHILD002', 'VM-CHILD001'])).toEqual({ recorded: true })
    for (const other of [report(['VM-CHILD001']), report(['VM-CHILD001', 'VM-CHILD003']), report([]), report(['VM-CHILD001', 'VM-CHILD002'], 'it burnt')]) expect(await other).toEqual({ recorded: false })
    expect((await admin.call(listVms)).items).toHaveLength(3)
  })

  test('only a fork reports children: no more than were asked for, and none that is known', async () => {
    await using place = await make()
    const { server, admin, runner, next, show } = await working(place)
    await using _server = server
    const child = (id: string, restoreMs = 4_000) => ({ id, restoreMs, limits: {} })
    const report = async (forked: ReturnType<typeof child>[] | undefined, operationId: string) => runner.call(endOperation, { body: { operationId, failure: null, ...(forked === undefined ? {} : { forked }) } })
    const killing = admin.call(killVm, { params: { vmId: VM }, body: { reason: 'x' } })
    const [kill] = (await next(BOOT, 10_000)).operations
    await expect(report([child('VM-CHILD001')], kill!.id)).rejects.toMatchObject({ status: 400, code: 'invalid_input', message: expect.stringContaining('only a fork') as string })
    expect((await show()).operations).toMatchObject([{ kind: 'kill', state: 'running' }])
    await Promise.all([killing, report(undefined, kill!.id)])
    const forking = admin.call(forkVm, { params: { vmId: VM }, body: { count: 2, minutes: 5 } })
    const [fork] = (await next(BOOT, 10_000)).operations
    for (const wrong of [['VM-CHILD001', 'VM-CHILD002', 'VM-CHILD003'], ['VM-CHILD001', 'VM-CHILD001'], ['VM-CHILD001', VM], []]) {
      await expect(report(wrong.map((id) => child(id)), fork!.id), wrong.join()).rejects.toMatchObject({ status: 400, details: { field: 'body.forked' } })
    }
    await expect(report([child('VM-CHILD001', -1)], fork!.id)).rejects.toMatchObject({ status: 400, details: { field: 'body.forked.0.restoreMs' } })
    expect((await admin.call(listVms)).items).toHaveLength(1)
    await Promise.all([forking, report([child('VM-CHILD001')], fork!.id)])
    expect((await admin.call(listVms)).items).toHaveLength(2)
  })

  test('what a microVM wrote is passed on, and kept nowhere', async () => {
    await using place = await make()
    const { server, admin, runner, next } = await working(place)
    await using _server = server
    const reading = admin.call(vmLogs, { params: { vmId: VM } })
    const [operation] = (await next(BOOT, 10_000)).operations
    await runner.call(endOperation, { body: { operationId: operation!.id, failure: null, logs: { console: 'SECRET-CONSOLE', output: 'SECRET-OUTPUT', truncated: true } } })
    expect(await reading).toEqual({ console: 'SECRET-CONSOLE', output: 'SECRET-OUTPUT', truncated: true })
    const rows = [...await server.context.db.read.selectFrom('vm_operations').selectAll().execute(), ...await server.context.db.read.selectFrom('events').selectAll().execute()]
    expect(JSON.stringify(rows)).not.toContain('SECRET')
    expect(JSON.stringify(server.log)).not.toContain('SECRET')
  })

  test('nothing is asked of a runner that is away, of a microVM that is over, or later than somebody waits for it', async () => {
    await using place = await make()
    const { server, admin, next, key, about, runner, show } = await working(place)
    await using _server = server
    const { db } = server.context
    const kill = () => admin.call(killVm, { params: { vmId: VM }, body: { reason: 'x' } })
    await expect(admin.call(killVm, { params: { vmId: VM }, body: { reason: ' ' } })).rejects.toMatchObject({ status: 400, details: { field: 'body.reason' } })
    await expect(runner.call(killVm, { params: { vmId: VM }, body: { reason: 'x' } })).rejects.toMatchObject({ status: 403 })
    const killing = kill()
    killing.catch(() => {}) // it is awaited below
    await expect.poll(async () => (await show()).operations.length).toBe(1)
    await db.write((trx) => trx.updateTable('vm_operations').set({ expires_at: 1 }).execute())
    expect(await next()).toEqual({ operations: [] })
    server.context.db.wake.emit('vm-operations')
    await expect(killing).rejects.toMatchObject({ status: 504, code: 'vm_operation_expired' })
    expect((await show()).operations).toMatchObject([{ state: 'expired' }])
    await db.write((trx) => trx.updateTable('runners').set({ seen_at: Date.now() - 31_000 }).execute())
    await expect(kill()).rejects.toMatchObject({ status: 503, code: 'runner_offline' })
    await db.write((trx) => trx.updateTable('runners').set({ seen_at: Date.now() }).execute())
    await runner.call(status, { body: { ...key, sequence: 1, vm: { ...about, state: 'ended', endReason: 'disposed' } } })
    await expect(kill()).rejects.toMatchObject({ status: 409, code: 'vm_not_running' })
    expect((await show()).operations).toHaveLength(1)
  })

  test('a stream joins client and runner, ends with either, and takes nothing that is not of its protocol', async () => {
    await using place = await make()
    const platform = await working(place)
    const { server, show, runnerToken } = platform
    await using _server = server
    const { open, begin, join } = streamsOf(platform)
    for (const [wrong, field] of [[{ argv: [] }, 'argv'], [{ argv: ['a\0b'] }, 'argv.0'], [{ timeoutMs: 1e9 }, 'timeoutMs'], [{ cwd: 'relative' }, 'cwd'], [{ env: {} }, 'the first message']] as const) {
      const client = await begin(wrong)
      await client.closed
      expect(client.texts, field).toMatchObject([{ type: 'error', error: { code: 'invalid_input', remedy: `Correct ${field} and send it again.` } }])
    }
    expect((await show()).operations).toEqual([])

    const [client, runner] = await Promise.all([begin({}), join()])
    client.socket.send(Buffer.from('\0typed'))
    await expect.poll(() => runner.chunks).toEqual(['\0typed'])
    runner.socket.send(Buffer.from('\x01printed'))
    runner.socket.send(JSON.stringify({ type: 'exit', code: 3, signal: null, timedOut: false, truncated: false, wallMs: 12 }))
    await client.closed
    expect([client.chunks, client.texts]).toMatchObject([['\x01printed'], [{ type: 'started' }, { type: 'exit', code: 3 }]])
    expect((await show()).operations[0]).toMatchObject({ state: 'done', exitCode: 3, argv: ['true'] })

    const [left, stopped] = await Promise.all([begin({}), join()])
    left.socket.close()
    await stopped.closed
    await expect.poll(async () => (await show()).operations[0]).toMatchObject({ state: 'failed', failure: 'the client left' })
    const [waiting, gone] = await Promise.all([begin({}), join()])
    gone.socket.terminate()
    await waiting.closed
    expect(waiting.texts[1]).toMatchObject({ type: 'error', error: { code: 'vm_operation_failed' } })
    const [victim, liar] = await Promise.all([begin({}), join()])
    liar.socket.send(Buffer.from('\x09what is this'))
    await victim.closed
    expect(victim.chunks).toEqual([])
    expect(victim.texts[1]).toMatchObject({ error: { message: expect.stringContaining('not of this protocol') as string } })
    const late = open('/operations/OPN-00000000/stream', runnerToken)
    expect((await late.closed)[0]).toBe(STREAM_CLOSE_CODES.elsewhere)
    await expect(open(`/operations/OPN-00000000/stream`, server.adminToken).opened).rejects.toThrow('403')
    await expect(open(`/api/vms/${VM}/exec`, runnerToken).opened).rejects.toThrow('403')
  })

  test('a client that sends more than its process takes is ended, and one that waits for what was taken is not', async () => {
    await using place = await make()
    const platform = await working(place)
    await using _server = platform.server
    const { begin, join } = streamsOf(platform)
    const chunk = Buffer.alloc(MAX_CHUNK_BYTES + 1)
    const fits = Math.floor(STREAM_WINDOW_BYTES / chunk.length)
    const [client, runner] = await Promise.all([begin({}), join()])
    const send = (chunks: number) => { for (let sent = 0; sent < chunks; sent += 1) client.socket.send(chunk) }
    send(fits)
    await expect.poll(() => runner.chunks.length).toBe(fits)
    runner.socket.send(JSON.stringify({ type: 'consumed', bytes: chunk.length }))
    await expect.poll(() => client.texts.at(-1)).toEqual({ type: 'consumed', bytes: chunk.length })
    send(1)
    await expect.poll(() => runner.chunks.length).toBe(fits + 1)
    send(1)
    await client.closed
    expect(client.texts.at(-1)).toMatchObject({ type: 'error', error: { code: 'vm_operation_failed', message: expect.stringContaining('more was sent than was taken') as string } })
    await runner.closed
    expect(runner.chunks).toHaveLength(fits + 1)
  })

  test('what a client sends right behind its request reaches the process in order, and too much of it is refused', async () => {
    await using place = await make()
    const platform = await working(place)
    await using _server = platform.server
    const { START, open, join } = streamsOf(platform)
    /** Frames of a client (RFC 6455) of at most 65,535 bytes, with a mask of zeros, in one segment. */
    const burst = async (messages: readonly (string | Buffer)[]) => {
      const client = open(`/api/vms/${VM}/exec`, platform.server.adminToken)
      const [[{ socket }]] = await Promise.all([once(client.socket, 'upgrade') as Promise<[IncomingMessage]>, client.opened])
      socket.write(Buffer.concat(messages.map((message) => {
        const [bytes, opcode] = [Buffer.from(message), typeof message === 'string' ? 1 : 2]
        return Buffer.concat([Buffer.of(0x80 | opcode, 0x80 | 126, bytes.length >> 8, bytes.length & 0xff, 0, 0, 0, 0), bytes])
      })))
      return client
    }
    const request = JSON.stringify(START)
    const [client, runner] = await Promise.all([burst([request, Buffer.from('\0first'), Buffer.from('\0second'), Buffer.from('\0')]), join()])
    await expect.poll(() => runner.chunks).toEqual(['\0first', '\0second', '\0'])
    runner.socket.send(JSON.stringify({ type: 'exit', code: 0, signal: null, timedOut: false, truncated: false, wallMs: 1 }))
    await client.closed
    expect(client.texts).toMatchObject([{ type: 'started' }, { type: 'exit', code: 0 }])
    const hasty = await burst([request, ...Array.from({ length: 1_200 }, () => Buffer.from('\0'))])
    await hasty.closed
    expect(hasty.texts.at(-1)).toMatchObject({ type: 'error', error: { code: 'invalid_input', message: expect.stringContaining('more was sent than was taken') as string } })
  })
})
