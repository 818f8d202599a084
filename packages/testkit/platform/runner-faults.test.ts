import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { git } from '@swarm/git/run.ts'
import { sqlitePlace } from '@swarm/server/db/testing.ts'
import { startTestServer } from '@swarm/server/testing.ts'
import { expect, test, vi } from 'vitest'
import { processesOf, runnerHome, startRunnerProcess } from './runner-process.ts'
import { until } from './until.ts'
import { freePort } from './free-port.ts'

/** A lease short enough to wait for, and long enough for a busy machine to renew it. */
const LEASE = { 'lease.ttlMs': 6_000, 'lease.beatMs': 1_500, 'lease.checkpointMs': 300 }
const BEAT = { SWARM_LEASE_BEAT_MS: '1500' }
const POLL = { timeout: 30_000, interval: 50 }

async function ticketFor(admin: Client, commands: string[]) {
  const project = await admin.call(createProject, { body: { slug: 'faults' } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'app', swarmYml: 'checks: { test: "true" }\n' } })
  await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands } } } })
  const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Write', agent: 'writer' } })
  return { id: ticket.id, path: (await admin.call(showRepository, { params: { repositoryId: repository.id } })).path, show: () => admin.call(showTicket, { params: { ticketId: ticket.id } }) }
}

test('kill -9 of a runner takes its agents with it, what they wrote is on a ref, the next start goes on from there, and no folder stays', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place, { settings: LEASE })
  const { admin, context } = server
  // The first agent leaves a daemon in a session of its own as well, and never ends by itself.
  const ticket = await ticketFor(admin, ['test -f one.txt && exit 0; echo one > one.txt; setsid sleep 601 & sleep 600'])
  using home = await runnerHome(admin)
  const first = await startRunnerProcess(home, server.url, BEAT)
  const attempts = () => context.db.read.selectFrom('attempts').selectAll().orderBy('number').execute()
  await until(context, async () => (await attempts())[0]?.wip_sha != null)
  await vi.waitFor(() => { expect(processesOf(home.home).length).toBeGreaterThan(2) }, POLL)
  const [folder] = readdirSync(first.folders)
  first.kill('SIGKILL')
  await first.exited()
  await vi.waitFor(() => { expect(processesOf(home.home)).toEqual([]) }, POLL)
  expect(existsSync(`${first.folders}/${folder}`)).toBe(true)

  await using second = await startRunnerProcess(home, server.url, BEAT)
  expect(readdirSync(second.folders)).not.toContain(folder)
  await until(context, async () => (await ticket.show()).state === 'in_review')
  const [lost, next] = await attempts()
  expect(lost).toMatchObject({ state: 'failed', failure_class: 'infrastructure', failure_reason: 'runner_restarted' })
  expect(next).toMatchObject({ number: 2, state: 'succeeded', start_sha: lost?.wip_sha, base_sha: lost?.base_sha })
  expect((await git(ticket.path, ['show', `refs/swarm/attempts/${lost?.id}/work:one.txt`])).stdout).toBe('one\n')
}, 120_000)

test('a runner that was stopped for longer than its lease finds that out when it goes on, ends its agent and claims again', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place, { settings: LEASE })
  const { admin, context } = server
  const ticket = await ticketFor(admin, ['echo $$ > pid.txt; while :; do date +%s%N > now.txt; sleep 0.2; done'])
  using home = await runnerHome(admin)
  await using runner = await startRunnerProcess(home, server.url, BEAT)
  const attempts = () => context.db.read.selectFrom('attempts').selectAll().orderBy('number').execute()
  await until(context, async () => (await attempts())[0]?.wip_sha != null)
  const { wip_sha: first } = (await attempts())[0] ?? {}
  await until(context, async () => (await attempts())[0]?.wip_sha !== first)
  runner.kill('SIGSTOP')
  await until(context, async () => (await attempts())[0]?.state === 'failed')
  const [lost] = await attempts()
  expect(lost).toMatchObject({ failure_class: 'infrastructure', failure_reason: 'lease_expired' })
  const reference = async () => (await git(ticket.path, ['rev-parse', `refs/swarm/attempts/${lost?.id}/work`])).stdout
  const pushed = await reference()
  // Checkpoints before the last are kept as well.
  expect((await git(ticket.path, ['rev-list', '--walk-reflogs', `refs/swarm/attempts/${lost?.id}/work`])).stdout.trim().split('\n').length).toBeGreaterThan(1)
  const logged = server.log.length
  // Its agent has written on meanwhile, and its next checkpoint is long due.
  runner.kill('SIGCONT')
  await until(context, async () => (await attempts())[1]?.wip_sha != null)
  expect(await reference()).toBe(pushed)
  expect((await attempts())[0]).toEqual(lost)
  // It noticed by itself: not even a refused write about the lost attempt has reached the server.
  const refused = server.log.slice(logged).filter((line) => JSON.stringify(line).includes('stale_fence'))
  expect(refused).toEqual([])
  expect(runner.log()).toContain('the lease ran out without a heartbeat')
  await vi.waitFor(() => { expect(readdirSync(runner.folders).filter((name) => !name.includes('programs'))).toHaveLength(1) }, POLL)
}, 120_000)

test('connections that go dead in the middle cost a runner nothing while its lease lasts', async () => {
  await using place = await sqlitePlace()
  await using server = await startTestServer(place, { settings: { ...LEASE, 'lease.ttlMs': 15_000 } })
  const { admin, context } = server
  const ticket = await ticketFor(admin, ['for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do echo $n >> count.txt; sleep 1; done'])
  using home = await runnerHome(admin)
  await using proxy = await startProxy(server.url)
  await using _runner = await startRunnerProcess(home, proxy.url, BEAT)
  const attempts = () => context.db.read.selectFrom('attempts').selectAll().execute()
  await until(context, async () => (await attempts())[0]?.wip_sha != null)
  for (let cut = 0; cut < 3; cut++) {
    const seen = (await attempts())[0]?.lease_expires_at ?? 0
    // Half open: nothing comes through any more, and neither side is told.
    proxy.blackhole()
    await vi.waitFor(async () => { expect((await attempts())[0]?.lease_expires_at ?? seen + 1).toBeGreaterThan(seen) }, POLL)
    expect(await attempts()).toMatchObject([{ state: 'running' }])
  }
  proxy.reset()
  await until(context, async () => (await ticket.show()).state === 'in_review')
  expect(await attempts()).toMatchObject([{ number: 1, state: 'succeeded' }])
}, 120_000)

test('a server that is killed again and again in the middle of an attempt costs nothing: the attempt is carried out once', async () => {
  await using place = await sqlitePlace()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const serve = (): Promise<ChildProcess> => startServerProcess(place.home, port)
  let server = await serve()
  try {
    const admin = createClient({ baseUrl: url, token: readFileSync(join(place.home, 'admin-token'), 'utf8').trim() })
    const ticket = await ticketFor(admin, ['for n in 1 2 3 4 5 6 7 8; do echo $n >> count.txt; sleep 0.5; done'])
    using home = await runnerHome(admin)
    await using _runner = await startRunnerProcess(home, url)
    const steps = async () => (await ticket.show()).history[0]?.steps.map(({ step, state }) => `${step} ${state}`) ?? []
    // As soon as each of these steps is on its way, and once more at an arbitrary moment of the longest.
    for (const step of ['provision', 'workspace', 'agent', 'agent', 'publish']) {
      await vi.waitFor(async () => { expect((await steps()).some((each) => each.startsWith(step))).toBe(true) }, { timeout: 60_000, interval: 5 })
      const exited = once(server, 'exit')
      server.kill('SIGKILL')
      await exited
      server = await serve()
    }
    await vi.waitFor(async () => { expect((await ticket.show()).state).toBe('in_review') }, { timeout: 60_000, interval: 100 })
    const { history } = await ticket.show()
    expect(history).toMatchObject([{ number: 1, state: 'succeeded' }])
    expect(await steps()).toEqual(['provision done', 'workspace done', 'agent done', 'publish done'])
    expect((await git(ticket.path, ['show', `refs/swarm/attempts/${history[0]?.id}/work:count.txt`])).stdout).toBe('1\n2\n3\n4\n5\n6\n7\n8\n')
  } finally {
    const exited = once(server, 'exit')
    server.kill('SIGTERM')
    await exited
  }
}, 180_000)

async function startServerProcess(home: string, port: number): Promise<ChildProcess> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('../../server/main.ts', import.meta.url))], {
    env: { PATH: process.env['PATH'], HOME: home, SWARM_HOME: home, SWARM_PORT: String(port), SWARM_RATE_ADMIN: '1000000', SWARM_LEASE_CHECKPOINT_MS: '500' }, stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = text(child.stderr)
  const line = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), once(child, 'exit').then(() => null)])
  if (line === null) throw new Error(`the server ended: ${await said}`)
  return child
}


/** A TCP proxy whose open connections can go dead (`blackhole`) or be cut (`reset`); new ones work. */
async function startProxy(target: string): Promise<AsyncDisposable & { url: string; blackhole(): void; reset(): void }> {
  const { hostname, port } = new URL(target)
  const pairs = new Set<[Socket, Socket]>()
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname)
    const pair: [Socket, Socket] = [client, upstream]
    pairs.add(pair)
    client.pipe(upstream)
    upstream.pipe(client)
    for (const socket of pair) {
      socket.on('error', () => undefined) // cut by us or by the other side
      socket.once('close', () => {
        pairs.delete(pair)
        for (const each of pair) each.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const each = (act: (client: Socket, upstream: Socket) => void): void => { for (const [client, upstream] of pairs) act(client, upstream) }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    blackhole: () => { each((client, upstream) => { client.unpipe(upstream).pause(); upstream.unpipe(client).pause() }) },
    reset: () => { each((client) => { client.resetAndDestroy() }) },
    async [Symbol.asyncDispose]() {
      each((client, upstream) => { client.destroy(); upstream.destroy() })
      server.close()
      await once(server, 'close')
    },
  }
}
