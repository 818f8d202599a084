import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream/promises'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, showRepository } from '@swarm/contract/endpoints/repositories.ts'
import { createTicket } from '@swarm/contract/endpoints/tickets.ts'
import { claim, registerRunner, type AttemptWork } from '@swarm/contract/runner-protocol.ts'
import { git } from '@swarm/git/run.ts'
import { fetchWorkspace, pushWork } from '@swarm/runner/attempts/guest-git.ts'
import { createMachines } from '@swarm/runner/attempts/machines.ts'
import type { Template, Vm } from '@swarm/runner/drivers/driver.ts'
import { selectDriver, type DriverConfig } from '@swarm/runner/drivers/select.ts'
import { createHostAdmission } from '@swarm/runner/host/host-admission.ts'
import type { EgressProxy } from '@swarm/runner/egress/proxy.ts'
import { ALLOWED, EXEMPT, EXEMPTIONS, FORBIDDEN, NAMES, OTHER_PUBLIC, PUBLIC, PUBLIC_V6 } from '@swarm/runner/egress/testing-attacks.ts'
import { answerNames, recordConnections, recordDatagrams } from '@swarm/runner/egress/testing-network.ts'
import { journalFolder, openVmJournal } from '@swarm/runner/vms/journal.ts'
import { sqlitePlace } from '@swarm/server/db/testing.ts'
import { startTestServer } from '@swarm/server/testing.ts'
import { parseScript } from '../rehearsal/script.ts'
import { startRehearsal } from '../rehearsal/server.ts'
import { measureClock } from './clock.ts'
import { findInMemory } from './memory.ts'
import { Question, type Facts, type Happening } from './protocol.ts'

/*
 * The host that a hostile guest attacks, in network and mount namespaces of its own (host.ts makes them): a real server and
 * the runner's own driver, proxies and git steps, with two attempts at work in two microVMs, and recording listeners on every
 * address. Ends with its stdin.     node main.ts DRIVER
 */

const say = (happening: Happening): void => void process.stdout.write(`${JSON.stringify(happening)}\n`)
const [driverName = 'qemu'] = process.argv.slice(2)
const SERVER_PORT = 8080
/** Planted where a careless host would leak it from. */
const planted = (prefix: string): string => prefix + randomBytes(24).toString('hex')
const ENVIRONMENT = planted('env-')
process.env['SWARM_PLANTED_SECRET'] = ENVIRONMENT

const SCRIPT = `version: 1
scenes:
  - role: developer
    turns: [{ say: 'hello from the model' }, { say: 'and again' }]
`

await using started = new AsyncDisposableStack()

const addresses = [PUBLIC, PUBLIC_V6, OTHER_PUBLIC, EXEMPT, ...FORBIDDEN, '127.0.0.1', '::1']
await recordConnections(addresses.flatMap((address) => [80, 443, 22, 6379, ...(address === '127.0.0.1' ? [] : [SERVER_PORT])].map((port) => ({ address, port }))), say)
await recordDatagrams(addresses.flatMap((address) => [53, 123].filter((port) => port !== 53 || address !== '127.0.0.1').map((port) => ({ address, port }))), say)
await answerNames(NAMES, say)

const providerKey = planted('sk-ant-api03-')
const place = started.use(await sqlitePlace())
const rehearsal = started.use(await startRehearsal({ script: parseScript(SCRIPT, { file: 'isolation.yml', folder: '.' }) }))
const cache = process.env['SWARM_CACHE'] ?? join(process.env['HOME'] ?? '/root', '.cache', 'swarm')
const server = started.use(await startTestServer(place, {
  settings: {
    cache, port: SERVER_PORT, 'vm.memoryMb': 512, 'vm.scratchMb': 1024, 'lease.ttlMs': 3_600_000, 'egress.exemptions': EXEMPTIONS,
    'model.provider': 'compatible', 'model.baseUrl': rehearsal.url, 'model.apiKey': providerKey,
  },
}))
const { admin, context } = server

const project = await admin.call(createProject, { body: { slug: 'isolation', settings: { egressAllow: ALLOWED } } })
const repository = await admin.call(createRepository, { body: { projectId: project.id, slug: 'app', swarmYml: 'limits: { memoryMb: 512, diskMb: 1024 }\n' } })
const other = await admin.call(createProject, { body: { slug: 'elsewhere' } })
await admin.call(createRepository, { body: { projectId: other.id, slug: 'secret', readme: 'not for you\n' } })
const repositoryPath = (await admin.call(showRepository, { params: { repositoryId: repository.id } })).path
await admin.call(createAgent, { body: { name: 'worker', definition: { config: { template: 'shell', commands: ['true'] } } } })
const runner = await admin.call(registerRunner, { body: { name: 'local' } })

const state = mkdtempSync(join(tmpdir(), 'swarm-isolation-'))
started.defer(() => { rmSync(state, { recursive: true, force: true }) })
const driver = started.use(await selectDriver({ driver: driverName as DriverConfig['driver'], cache, stateDir: state, warm: 0, onNotice: () => {} }))
const machines = createMachines({ driver, admission: createHostAdmission(context.config), settings: context.config, serverUrl: server.url, onProgress: () => {} })

interface Guest { vm: Vm; proxy: EgressProxy; work: AttemptWork }
const guests = new Map<string, Guest>()
let template: Template | null = null
let restored = 0

async function restore(name: string, work: AttemptWork): Promise<Guest> {
  template ??= await machines.template(work, () => {})
  const proxy = await machines.proxy(work, ({ code }) => { say({ refused: code }) }, () => {}, machines.routes(work), null)
  const vm = await driver.restore(template, { id: `VM-ISOLATE${++restored}`, limits: { pids: work.limits.pids, cpuShare: 1 }, correlationId: work.correlationId })
  vm.onForward((stream) => { proxy.accept(stream) })
  const guest = { vm, proxy, work }
  guests.set(name, guest)
  return guest
}
async function dispose(name: string): Promise<void> {
  const guest = guests.get(name)
  guests.delete(name)
  await guest?.vm[Symbol.asyncDispose]()
  await guest?.proxy[Symbol.asyncDispose]()
}
started.defer(async () => { await Promise.all([...guests.keys()].map(dispose)) })

/** Work as a runner gets it: a ticket, claimed under a lease, with a token of its own. */
async function takeWork(title: string): Promise<AttemptWork & { ticketKey: string }> {
  const ticket = await admin.call(createTicket, { body: { projectId: project.id, repositoryId: repository.id, title, agent: 'worker', scope: [`${title}/**`] } })
  const { work } = await server.as(runner.token).call(claim, { body: { waitMs: 20_000, kinds: ['attempt'], driver: driver.name, isolates: true, capacity: 4, bootId: 'isolation-host', claimKey: randomUUID() } })
  if (work?.kind !== 'attempt') throw new Error('the ticket was not handed out')
  return { ...work, ticketKey: ticket.key }
}

const works = { first: await takeWork('first'), second: await takeWork('second') }
for (const [name, work] of Object.entries(works)) await restore(name, work)
const abort = new AbortController().signal
for (const [name, work] of Object.entries(works)) await fetchWorkspace(guestOf(name).vm, { ...work, ref: `refs/swarm/attempts/${work.attemptId}/start`, author: 'worker', signal: abort })
/** In the second guest alone: in a file, in its memory, and in what it has pushed. */
const file = planted('file-')
const { vm: second } = guestOf('second')
await second.exec({ argv: ['/bin/sh', '-c', 'mkdir -p second && cat > second/own.txt && cp second/own.txt /dev/shm/own.txt && cp second/own.txt /root/own.txt && sync'], cwd: second.workspace, stdin: file })
const secondHead = await pushWork(second, { attemptId: works.second.attemptId, ticketId: works.second.ticketId, title: 'second' }, abort)
writeFileSync(join(place.home, 'planted'), planted('home-'))

const facts: Facts = {
  driver: driver.name,
  attempts: Object.entries(works).map(([vm, { attemptId, token, ticketKey }]) => ({ vm, attemptId, token, ticketKey })),
  repository: 'http://git.swarm.internal/isolation/app', otherRepository: 'http://git.swarm.internal/elsewhere/secret', secondHead,
  secrets: {
    'provider key': providerKey, 'admin token': server.adminToken, 'runner token': runner.token, 'token of the attempt': works.first.token, 'token of the other attempt': works.second.token,
    'environment of the runner': ENVIRONMENT, 'file of the home folder': readFileSync(join(place.home, 'planted'), 'utf8'), 'file of the other attempt': file,
  },
}

function guestOf(name: string): Guest {
  const guest = guests.get(name)
  if (guest === undefined) throw new Error(`there is no microVM named ${name}`)
  return guest
}

function processOf(name: string): number {
  const { id } = guestOf(name).vm
  const process = openVmJournal(journalFolder(state)).records().find(({ vmId }) => vmId === id)?.process
  if (!process) throw new Error(`the journal names no process of ${id}`)
  return process.pid
}

async function digests(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const entry of readdirSync(folder, { withFileTypes: true }).filter((each) => each.isFile())) {
    const hash = createHash('sha256')
    await pipeline(createReadStream(join(folder, entry.name)), hash)
    found[join(folder, entry.name)] = hash.digest('hex')
  }
  return found
}

async function answer(question: ReturnType<typeof Question.parse>): Promise<unknown> {
  switch (question.do) {
    case 'restore': return void await restore(question.vm, works.first)
    case 'dispose': return dispose(question.vm)
    case 'exec': return guestOf(question.vm).vm.exec({ cwd: '/', ...question.exec })
    case 'ended': return guestOf(question.vm).vm.ended
    case 'clock': {
      const { vm, proxy } = guestOf(question.vm)
      return measureClock(vm, (stream) => { proxy.accept(stream) })
    }
    case 'memory': return findInMemory(processOf(question.vm), question.texts)
    case 'environment': return readFileSync(`/proc/${processOf(question.vm)}/environ`, 'utf8').split('\0').filter((each) => each !== '')
    case 'forwards': return (await guestOf(question.vm).vm.stats()).openForwards
    case 'files': return { ...(template?.image ? await digests(template.image.directory) : {}), ...await digests(template?.directory ?? '') }
    case 'refs': return (await git(repositoryPath, ['for-each-ref', '--format=%(objectname) %(refname)'])).stdout.trim().split('\n')
    case 'calls': return context.db.read.selectFrom('model_calls').select(['attempt_id', 'state', 'status']).execute()
  }
}

say({ ready: facts })
const pending = new Set<Promise<void>>()
for await (const line of createInterface({ input: process.stdin })) {
  const { id, ...question } = JSON.parse(line) as { id: number }
  const work: Promise<void> = (async () => answer(Question.parse(question)))()
    .then((value) => say({ answered: id, value }), (error: unknown) => say({ answered: id, error: error instanceof Error ? `${error.message} ${'details' in error ? JSON.stringify(error.details) : ''}` : String(error) }))
    .finally(() => pending.delete(work))
  pending.add(work)
}
await Promise.all(pending)
await started.disposeAsync()
// The listeners would keep it alive.
process.exit(0)
