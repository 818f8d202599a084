import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listVms } from '@swarm/contract/endpoints/runners.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { showVm } from '@swarm/contract/endpoints/vms.ts'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { makeDesk, type Desk } from './testing.ts'

let desk: Desk
let admin: Client
let ticketId: string
let vmId: string

beforeAll(async () => {
  desk = makeDesk()
  const cache = process.env['SWARM_CACHE'] ?? join(process.env['HOME'] ?? '/root', '.cache', 'swarm')
  expect(await desk.swarm(['start', '--port', '0', '--json'], { SWARM_VM_DRIVER: 'auto', SWARM_VM_MEMORY_MB: '512', SWARM_VM_SCRATCH_MB: '1024', SWARM_VM_WARM: '1', SWARM_VM_CPU_OVERCOMMIT: String(2 / availableParallelism()), SWARM_CACHE: cache, SWARM_LEASE_BEAT_MS: '1000' })).toMatchObject({ code: 0 })
  admin = createClient({ baseUrl: (JSON.parse(readFileSync(join(desk.home, 'run', 'server.json'), 'utf8')) as { url: string }).url, token: readFileSync(join(desk.home, 'admin-token'), 'utf8').trim() })
  const project = await admin.call(createProject, { body: { slug: 'p' } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
  await admin.call(createAgent, { body: { name: 'worker', definition: { config: { template: 'shell', commands: ['n=0; while [ ! -e enough ]; do n=$((n+1)); echo $n > count; sleep 0.2; done; rm count enough; echo done > done'] } } } })
  ticketId = (await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Work', agent: 'worker' } })).id
  await vi.waitFor(async () => {
    vmId = (await admin.call(listVms, { query: { state: 'running' } })).items.find(({ workKind }) => workKind === 'attempt')?.id ?? ''
    expect((await desk.swarm(['vm', 'exec', vmId, '--', 'cat', 'count'])).code).toBe(0)
  }, { timeout: 240_000, interval: 500 })
})
afterAll(async () => { await desk[Symbol.asyncDispose]() })

const exec = async (...argv: string[]) => (await desk.swarm(['vm', 'exec', vmId, '--json', '--', ...argv])).json

test('a person works in a microVM beside its agent, with a terminal where there is one', async () => {
  expect(await exec('sh', '-c', 'hostname; id -u; pwd; ls')).toMatchObject({ code: 0, stdout: `${vmId.toLowerCase()}\n0\n/work/repository\nREADME.md\ncount\nswarm.yml\n` })
  const before = Number((await exec('cat', 'count'))['stdout'])
  await vi.waitFor(async () => { expect(Number((await exec('cat', 'count'))['stdout'])).toBeGreaterThan(before) }, { timeout: 30_000 })
  const url = (JSON.parse(readFileSync(join(desk.home, 'run', 'server.json'), 'utf8')) as { url: string }).url
  const socket = new WebSocket(`${url.replace('http', 'ws')}/api/vms/${vmId}/exec`, { headers: { authorization: `Bearer ${readFileSync(join(desk.home, 'admin-token'), 'utf8').trim()}` } })
  socket.binaryType = 'arraybuffer'
  let shown = ''
  let exit: Record<string, unknown> | null = null
  socket.addEventListener('message', ({ data }) => {
    if (data instanceof ArrayBuffer) shown += Buffer.from(data).subarray(1).toString('utf8')
    else if ((JSON.parse(String(data)) as { type: string }).type === 'exit') exit = JSON.parse(String(data)) as Record<string, unknown>
  })
  socket.addEventListener('open', () => { socket.send(JSON.stringify({ type: 'start', kind: 'shell', argv: ['/bin/bash', '-i'], timeoutMs: 60_000, maxOutputBytes: 1e6, terminal: { columns: 101, rows: 33, name: 'xterm' } })) })
  const type = (text: string) => { socket.send(Buffer.from(`\0${text}`)) }
  const shows = (words: RegExp) => vi.waitFor(() => { expect(shown).toMatch(words) }, { timeout: 30_000 })
  await shows(/# /)
  type('stty size; tty; echo $TERM\r')
  await shows(/33 101\r\n\/dev\/pts\/\d+\r\nxterm\r\n/)
  socket.send(JSON.stringify({ type: 'resize', columns: 77, rows: 22 }))
  type('stty size\r')
  await shows(/22 77\r\n/)
  type('echo be""gun; sleep 1000\r')
  await shows(/begun/)
  type('\x03')
  type('echo "after $?"; exit 9\r')
  await shows(/after 130/)
  await vi.waitFor(() => { expect(exit).toMatchObject({ code: 9 }) }, { timeout: 20_000 })
})

test('a microVM that stood still has the right time when it goes on, its agent works on, and its ids are what they were', async () => {
  const ids = ['sh', '-c', 'cat /etc/machine-id /etc/hostname /etc/hosts']
  const before = (await exec(...ids))['stdout']
  const usage = async () => (await admin.call(showVm, { params: { vmId } })).usage
  expect((await desk.swarm(['vm', 'pause', vmId, '--json'])).code).toBe(0)
  const count = async () => Number((await exec('cat', 'count'))['stdout'])
  await vi.waitFor(async () => { expect(await usage()).toMatchObject({ paused: true, cpuMillicores: expect.toSatisfy((cores: number) => cores < 50) as number }) }, { timeout: 30_000 })
  expect((await desk.swarm(['vm', 'resume', vmId, '--json'])).code).toBe(0)
  const [earliest, { stdout }] = [Date.now(), await exec('date', '+%s%3N')]
  expect(Number(stdout)).toBeGreaterThan(earliest - 50)
  expect(Number(stdout)).toBeLessThan(Date.now() + 50)
  expect((await exec(...ids))['stdout']).toBe(before)
  const first = await count()
  await vi.waitFor(async () => { expect(await count()).toBeGreaterThan(first) }, { timeout: 20_000 })
})

test('a fork goes on beside it, is a microVM of its own, and is refused where the host has promised all that it has', async () => {
  let child = ''
  // A template that is made ahead takes room for a moment.
  await vi.waitFor(async () => {
    const forked = await desk.swarm(['vm', 'fork', vmId, '--minutes', '5', '--json'])
    expect(forked).toMatchObject({ code: 0, json: { vmIds: [expect.any(String) as string] } })
    child = String((forked.json['vmIds'] as string[])[0])
  }, { timeout: 120_000 })
  const countIn = async (vm: string) => Number((await desk.swarm(['vm', 'exec', vm, '--json', '--', 'cat', '/work/repository/count'])).json['stdout'])
  for (const vm of [vmId, child]) {
    const first = await countIn(vm)
    await vi.waitFor(async () => { expect(await countIn(vm)).toBeGreaterThan(first) }, { timeout: 30_000 })
  }
  // Two cores, one promised to each of them.
  expect(await desk.swarm(['vm', 'fork', vmId, '--json'])).toMatchObject({ code: 2, json: { error: { message: expect.stringContaining('0 cores of CPU time left to promise, 1 cores needed') as string } } })
  expect((await desk.swarm(['vm', 'kill', child, '--json'])).code).toBe(0)
  await vi.waitFor(async () => { expect((await admin.call(listVms, { query: { state: 'running' } })).items.map(({ id }) => id)).toEqual([vmId]) }, { timeout: 30_000 })
})

test('its log has what its work ran and what its kernel said, and its measurements are those of its VMM', async () => {
  await exec('sh', '-c', 'echo "<3>a word to the kernel" > /dev/kmsg')
  const { json } = await desk.swarm(['vm', 'logs', vmId, '--json'])
  expect(json).toMatchObject({ console: expect.stringContaining('a word to the kernel') as string, output: expect.stringMatching(/\$ \/bin\/sh -c .*git init/) as string })
  expect((await admin.call(showVm, { params: { vmId } }))).toMatchObject({ size: { memoryMb: 512, scratchMb: 1_024 }, usage: { rssBytes: expect.toSatisfy((bytes: number) => bytes > 50_000_000) as number } })
  expect((await exec('touch', 'enough'))['code']).toBe(0)
  await vi.waitFor(async () => { expect((await admin.call(showTicket, { params: { ticketId } })).history[0]).toMatchObject({ state: expect.stringMatching(/gating|verifying|succeeded/) as string }) }, { timeout: 60_000, interval: 300 })
})
