import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { listVms, type MicroVm } from '@swarm/contract/endpoints/runners.ts'
import { createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { showVm, vmSamples, vmTotals } from '@swarm/contract/endpoints/vms.ts'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { columnOf, makeDesk, saying, SWARM, type Desk } from './testing.ts'

let desk: Desk
let admin: Client
let url: string
let token: string
let ticketId: string

const running = async (): Promise<MicroVm[]> => (await admin.call(listVms, { query: { state: 'running' } })).items
/** The microVM that the agent works in. */
const theVm = (): Promise<MicroVm> => vi.waitFor(async () => {
  const vm = (await running()).find(({ workKind }) => workKind === 'attempt')
  if (!vm) throw new Error('none runs')
  return vm
}, { timeout: 40_000, interval: 100 })

beforeAll(async () => {
  desk = makeDesk()
  expect(await desk.swarm(['start', '--port', '0', '--json'], { SWARM_LEASE_BEAT_MS: '500' })).toMatchObject({ code: 0 })
  url = (JSON.parse(readFileSync(join(desk.home, 'run', 'server.json'), 'utf8')) as { url: string }).url
  token = readFileSync(join(desk.home, 'admin-token'), 'utf8').trim()
  admin = createClient({ baseUrl: url, token })
  const project = await admin.call(createProject, { body: { slug: 'p' } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'r', swarmYml: 'checks: { test: "true" }\n' } })
  // It works until somebody says that it is enough.
  await admin.call(createAgent, { body: { name: 'worker', definition: { config: { template: 'shell', commands: ['echo working > state; while [ ! -e enough ]; do sleep 0.1; done'] } } } })
  ticketId = (await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title: 'Work', agent: 'worker' } })).id
}, 180_000)
afterAll(async () => { await desk[Symbol.asyncDispose]() })

test('a command of a person runs beside the agent, with its output, its input and its exit code, and is recorded without either', { timeout: 120_000 }, async () => {
  const vm = await theVm()
  await vi.waitFor(async () => { expect(await desk.swarm(['vm', 'exec', vm.id, '--', 'cat', 'state'])).toMatchObject({ code: 0, stdout: 'working\n', stderr: '' }) }, { timeout: 40_000 })
  expect(await desk.swarm(['vm', 'exec', vm.id, '--json', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'])).toMatchObject({ code: 7, json: { code: 7, signal: null, timedOut: false, truncated: false, stdout: 'out\n', stderr: 'err\n' } })
  const child = desk.spawn(['vm', 'exec', vm.id, '--json', '--max-output', '1000', '--timeout', '2', '--', 'sh', '-c', 'yes'])
  expect(await once(child, 'close')).toEqual([124, null])
  const { operations } = await admin.call(showVm, { params: { vmId: vm.id } })
  expect(operations.slice(0, 2)).toMatchObject([
    { kind: 'exec', state: 'failed', argv: ['sh', '-c', 'yes'], exitCode: null, failure: 'it ran for longer than its limit', requestedBy: expect.stringMatching(/^admin \S+ \(TOK-\w{8}\)$/) as string },
    { kind: 'exec', state: 'done', argv: ['sh', '-c', 'echo out; echo err >&2; exit 7'], exitCode: 7, failure: null },
  ])
  const recorded = columnOf(join(desk.home, 'swarm.sqlite'), `select data from events where type = 'vm:operation' and subject_id = '${vm.id}' order by seq`).map((text) => JSON.parse(text) as Record<string, unknown>)
  expect(recorded.filter(({ operationId }) => operationId === operations[1]?.id)).toMatchObject([{ state: 'queued', exitCode: null, ticketId }, { state: 'done', exitCode: 7, argv: ['sh', '-c', 'echo out; echo err >&2; exit 7'] }])
  expect(JSON.stringify(recorded)).not.toContain('working')
})

test('Ctrl-C ends the command in the microVM, and that is recorded', { timeout: 60_000 }, async () => {
  const vm = await theVm()
  const child = desk.spawn(['vm', 'exec', vm.id, '--', 'sh', '-c', 'echo $$ > left; echo begun; exec sleep 4321'])
  await saying(child, /begun/)
  child.kill('SIGINT')
  expect(await once(child, 'close')).toEqual([130, null])
  await vi.waitFor(async () => { expect((await desk.swarm(['vm', 'exec', vm.id, '--', 'sh', '-c', 'kill -0 $(cat left)'])).code).toBe(1) }, { timeout: 20_000 })
  expect((await admin.call(showVm, { params: { vmId: vm.id } })).operations.find(({ argv }) => argv?.[2]?.includes('4321'))).toMatchObject({ state: 'failed', failure: 'the client left' })
})

test('20 MB come out of a microVM unchanged, and 3 MB go in', { timeout: 120_000 }, async () => {
  const vm = await theVm()
  const child = desk.spawn(['vm', 'exec', vm.id, '--stdin', '--json', '--', 'sh', '-c', 'wc -c; echo "end of $1"', 'sh', 'all'], {}, 'pipe')
  child.stdin?.end(Buffer.alloc(3_000_000, 'in'))
  expect(JSON.parse(await text(child.stdout!))).toMatchObject({ code: 0, stdout: '3000000\nend of all\n' })
  const ran = await desk.swarm(['vm', 'exec', vm.id, '--max-output', '30000000', '--', 'sh', '-c', 'head -c 20000000 /dev/zero | tr "\\0" x'])
  expect(ran.code).toBe(0)
  expect(ran.stdout).toHaveLength(20_000_000)
})

test('what a microVM uses is kept as rows, added up, and given to Prometheus without a label for it', { timeout: 60_000 }, async () => {
  const vm = await theVm()
  const measured = await vi.waitFor(async () => {
    const { usage } = await admin.call(showVm, { params: { vmId: vm.id } })
    expect(usage?.rssBytes).toBeGreaterThan(0)
    return usage!
  }, { timeout: 20_000 })
  expect(measured).toMatchObject({ paused: false, scratchBytes: expect.toSatisfy((bytes: number) => bytes > 0) as number, peakRssBytes: expect.toSatisfy((bytes: number) => bytes >= measured.rssBytes) as number })
  expect((await admin.call(vmSamples, { params: { vmId: vm.id } })).items.length).toBeGreaterThan(0)
  expect(await admin.call(vmTotals)).toMatchObject({ total: { vms: 1, measured: 1 }, runners: [{ name: 'local', vms: 1 }], projects: [{ slug: 'p', vms: 1 }] })
  const metrics = await (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } })).text()
  expect(metrics).toContain('swarm_vms{runner="local",driver="process",state="running"} 1')
  expect(metrics).toMatch(/swarm_vm_memory_rss_bytes\{runner="local",driver="process"\} [1-9]/)
  expect(metrics).toMatch(/swarm_vm_restore_seconds_count\{driver="process"\} [1-9]/)
  expect(metrics).not.toContain(vm.id)
  const { stdout } = await desk.swarm(['vm', 'show', vm.id])
  expect(stdout).toMatch(new RegExp(`work {7}attempt ATT-\\w+ of ${ticketId} "Work"`))
  expect(stdout).toContain('1024 processes')
})

test('a microVM stands still while it is paused, keeps its work, and goes on', { timeout: 60_000 }, async () => {
  const vm = await theVm()
  expect(await desk.swarm(['vm', 'pause', vm.id, '--reason', 'lunch', '--json'])).toMatchObject({ code: 0, json: { kind: 'pause', state: 'done', reason: 'lunch' } })
  expect((await desk.swarm(['vm', 'list'])).stdout).toMatch(new RegExp(`${vm.id}.* paused `))
  expect(await desk.swarm(['vm', 'exec', vm.id, '--json', '--', 'true'])).toMatchObject({ code: 1, json: { error: { code: 'vm_refused', message: expect.stringContaining('paused') as string } } })
  expect(await desk.swarm(['vm', 'resume', vm.id, '--json'])).toMatchObject({ code: 0, json: { kind: 'resume', state: 'done' } })
  expect((await theVm()).paused).toBe(false)
  expect((await desk.swarm(['vm', 'exec', vm.id, '--', 'true'])).code).toBe(0)
})

test('a shell without a terminal reads its lines from standard input', { timeout: 60_000 }, async () => {
  const vm = await theVm()
  const child = desk.spawn(['vm', 'shell', vm.id, '--json'], {}, 'pipe')
  child.stdin?.end('cat state; exit 5\n')
  expect(JSON.parse(await text(child.stdout!))).toMatchObject({ code: 5, stdout: 'working\n' })
  expect((await admin.call(showVm, { params: { vmId: vm.id } })).operations[0]).toMatchObject({ kind: 'shell', state: 'done', exitCode: 5, argv: ['/bin/bash', '-i'] })
})

test('a shell in a terminal has a terminal of the same size in the microVM, and Ctrl-C goes there', { timeout: 60_000 }, async () => {
  const vm = await theVm()
  // script(1) is the terminal that this test sits at.
  const child = spawn('script', ['--quiet', '--flush', '--return', '--command', `stty rows 33 columns 101; exec ${process.execPath} ${SWARM} vm shell ${vm.id}`, '/dev/null'], { env: { PATH: process.env['PATH'], HOME: desk.folder, SWARM_HOME: desk.home, TERM: 'xterm' }, stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = [['stty size; tty\r', /33 101\r+\n\/dev\/pts\/\d+/], ['echo be""gun; sleep 1000\r', /begun/], ['\x03', /\^C/], ['echo "after ${?}"\r', /after 130/], ['exit 6\r', /exit/]] as const
  for (const [typed, answer] of lines) {
    const said = saying(child, answer)
    child.stdin.write(typed)
    await said
  }
  expect(await once(child, 'close')).toEqual([6, null])
})

test('the log of a microVM has what its work ran, and not what people ran', { timeout: 60_000 }, async () => {
  const vm = await theVm()
  const { json } = await desk.swarm(['vm', 'logs', vm.id, '--json'])
  expect(json).toMatchObject({ output: expect.stringMatching(/\$ \/bin\/sh -c [^]*\[exit 0, \d+ ms\]\n\$ node /) as string, truncated: false })
  expect(String(json['output'])).not.toContain('4321')
})

test('a microVM that a person ends is a fault of the machine to its work, which goes on in another', { timeout: 120_000 }, async () => {
  const vm = await theVm()
  expect(await desk.swarm(['vm', 'kill', vm.id, '--reason', 'it is haunted', '--json'])).toMatchObject({ code: 0, json: { state: 'done', reason: 'it is haunted' } })
  await vi.waitFor(async () => { expect((await admin.call(showVm, { params: { vmId: vm.id } }))).toMatchObject({ state: 'ended', endReason: 'killed', endDetail: 'it is haunted', usage: { peakRssBytes: expect.any(Number) as number } }) }, { timeout: 20_000 })
  expect(await desk.swarm(['vm', 'exec', vm.id, '--json', '--', 'true'])).toMatchObject({ code: 2, json: { error: { code: 'vm_not_running' } } })
  expect((await desk.swarm(['vm', 'logs', vm.id])).stdout).toContain('[the microVM ended: killed: it is haunted]')
  const next = await theVm()
  expect(next.id).not.toBe(vm.id)
  expect((await admin.call(showTicket, { params: { ticketId } })).history[0]).toMatchObject({ state: 'failed', failureClass: 'infrastructure', failureReason: 'vm_killed' })
  await vi.waitFor(async () => { expect((await desk.swarm(['vm', 'exec', next.id, '--', 'touch', 'enough'])).code).toBe(0) }, { timeout: 40_000 })
  await vi.waitFor(async () => { expect((await admin.call(showTicket, { params: { ticketId } })).state).toBe('in_review') }, { timeout: 60_000, interval: 200 })
})

test('nobody but an admin gets into a microVM', { timeout: 60_000 }, async () => {
  for (const headers of [{}, { authorization: 'Bearer swarm_admin_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' }, { authorization: `Bearer ${readFileSync(join(desk.home, 'runner', 'local', 'token'), 'utf8').trim()}` }]) {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/api/vms/VM-00000001/exec`, { headers })
    const [event] = await once(socket as unknown as EventTarget, 'close') as [{ code: number }]
    expect(event.code).toBe(1006)
  }
  expect(existsSync(join(desk.home, 'run', 'server.json'))).toBe(true)
})
