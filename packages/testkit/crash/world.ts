import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { decideApproval, listApprovals } from '@swarm/contract/endpoints/approvals.ts'
import { createProject, listProjects } from '@swarm/contract/endpoints/projects.ts'
import { createRepository, listRepositories } from '@swarm/contract/endpoints/repositories.ts'
import { listVms } from '@swarm/contract/endpoints/runners.ts'
import { createTicket, listTickets } from '@swarm/contract/endpoints/tickets.ts'
import { ApiError } from '@swarm/contract/errors.ts'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { registerRunner } from '@swarm/contract/runner-protocol.ts'
import type { IntegrityReport } from '@swarm/contract/integrity.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { checkInstallation } from './check-installation.ts'
import { freePort } from '../platform/free-port.ts'

const CHECKOUT = fileURLToPath(new URL('../../..', import.meta.url))
/** What ends the processes when this one is killed. */
const TETHER = new URL('../../cli/platform/tether.ts', import.meta.url).href
const PRELOAD = new URL('./kill-at.mjs', import.meta.url).href
/** A ticket that has not come to its end by then never will. */
const PATIENCE_MS = 300_000

export type Victim = 'server' | 'runner'
export interface CrashRun {
  /** Whether the boundary was reached, and so the process killed there. */
  readonly killed: boolean
  /** `N LABEL` of every boundary that the victim passed, up to the kill. */
  readonly boundaries: readonly string[]
  /** What is not as it should be at the end; empty: the ticket is done, once, and every invariant holds. */
  readonly problems: readonly string[]
  readonly report: IntegrityReport
}

/** A home with a project, a repository, an agent and a runner's token, to be copied for each run; `url` is where its server will be. */
export interface Template extends Disposable { readonly home: string; readonly port: number }

export async function makeTemplate(): Promise<Template> {
  const home = mkdtempSync(join(tmpdir(), 'swarm-crash-template-'))
  const port = await freePort()
  const server = await startProgram('server', home, port, 0)
  try {
    const admin = clientOf(home, port)
    const project = await admin.call(createProject, { body: { slug: 'crash' } })
    await admin.call(createRepository, { body: { projectId: project.id, slug: 'app', swarmYml: 'checks: { test: "test -f hello.txt" }\n' } })
    await admin.call(createAgent, { body: { name: 'writer', definition: { config: { template: 'shell', commands: ['echo hello > hello.txt'] } } } })
    const { token } = await admin.call(registerRunner, { body: { name: 'local' } })
    mkdirSync(join(home, 'runner', 'local'), { recursive: true })
    writeFileSync(join(home, 'runner', 'local', 'token'), token, { mode: 0o600 })
  } finally {
    await server.stop()
  }
  return { home, port, [Symbol.dispose]: () => rmSync(home, { recursive: true, force: true }) }
}

/** One ticket from its creation to main, with the victim killed at boundary `at` (0: never), started again, and left to go on. */
export async function crashAt(template: Template, victim: Victim, at: number): Promise<CrashRun> {
  const home = mkdtempSync(join(tmpdir(), 'swarm-crash-'))
  try {
    cpSync(template.home, home, { recursive: true })
    return await run(home, template.port, victim, at)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

async function run(home: string, port: number, victim: Victim, at: number): Promise<CrashRun> {
  const processes = new Map<Victim, Promise<Running>>()
  let [killed, stopping] = [false, false]
  const keep = (name: Victim, crash: number): void => {
    const started = startProgram(name, home, port, crash, name === victim)
    processes.set(name, started)
    void started.catch(() => undefined)
    // Killed before it was ready, or later: it is started again, without a kill.
    void started.then(({ ended }) => ended, () => undefined).then(() => {
      if (stopping) return
      killed = true
      keep(name, -1)
    })
  }
  keep('server', victim === 'server' ? at : -1)
  await processes.get('server')?.catch(() => undefined)
  const admin = clientOf(home, port)
  const problems: string[] = []
  try {
    keep('runner', victim === 'runner' ? at : -1)
    const until = performance.now() + PATIENCE_MS
    for (;;) {
      if (await reached(() => advance(admin))) break
      if (performance.now() > until) {
        problems.push(`the ticket did not come to its end: ${JSON.stringify(await admin.call(listTickets).then(({ items }) => items.map(({ state, holdReason }) => ({ state, holdReason })), (error: unknown) => String(error)))}`)
        break
      }
      await delay(150) // the server may be down, so that it cannot tell
    }
  } finally {
    stopping = true
    for (const name of ['runner', 'server'] as const) await (await processes.get(name)?.catch(() => undefined))?.stop()
  }
  const report = await checkInstallation({ home, settled: true, live: false })
  problems.push(...report.violations.map(({ invariant, subject, message }) => `${invariant} ${subject.kind} ${subject.id}: ${message}`))
  const { tickets, changes, mainValues } = report.checked
  if (tickets !== 1 || changes !== 1 || mainValues !== 2) problems.push(`${tickets} tickets, ${changes} changes and ${mainValues} values of main instead of 1, 1 and 2`)
  const log = join(home, 'boundaries.log')
  const boundaries = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []
  return { killed, boundaries, problems, report }
}

/** What the person does: writes the ticket, approves its merge. True when it is merged and all its microVMs have ended. */
async function advance(admin: Client): Promise<boolean> {
  const [ticket] = (await admin.call(listTickets)).items
  if (!ticket) {
    const { id: projectId } = await firstProject(admin)
    const { id: repositoryId } = await firstRepository(admin)
    await admin.call(createTicket, { body: { projectId, repositoryId, title: 'Say hello', agent: 'writer' } })
    return false
  }
  for (const approval of (await admin.call(listApprovals, { query: { status: 'pending' } })).items) {
    await admin.call(decideApproval, { params: { approvalId: approval.id }, body: { decision: 'approved', payloadHash: approval.payloadHash } })
  }
  return ticket.state === 'done' && (await admin.call(listVms)).items.every(({ state }) => state === 'ended')
}

const firstProject = async (admin: Client) => one((await admin.call(listProjects)).items)
const firstRepository = async (admin: Client) => one((await admin.call(listRepositories)).items)
function one<T>(items: readonly T[]): T {
  const [first] = items
  if (first === undefined) throw new Error('the template is empty')
  return first
}

/** False while the server is down, or says that somebody (an earlier call whose answer was lost) was first. */
async function reached(step: () => Promise<boolean>): Promise<boolean> {
  try {
    return await step()
  } catch (error) {
    if (error instanceof DomainError || (error instanceof ApiError && (error.status >= 500 || error.status === 409))) return false
    throw error
  }
}

function clientOf(home: string, port: number): Client {
  return createClient({ baseUrl: `http://127.0.0.1:${port}`, token: () => readFileSync(join(home, 'admin-token'), 'utf8').trim() })
}

interface Running { readonly ended: Promise<void>; stop(): Promise<void> }

/** A real process of the product. @param at boundary at which it kills itself; -1: it is not counted at all */
async function startProgram(name: Victim, home: string, port: number, at: number, logged = false): Promise<Running> {
  const args = name === 'server' ? [] : ['--server', `http://127.0.0.1:${port}`, '--name', 'local', '--token-file', join(home, 'runner', 'local', 'token')]
  const child = spawn(process.execPath, ['--import', TETHER, ...(at < 0 ? [] : ['--import', PRELOAD]), join(CHECKOUT, 'packages', name, 'main.ts'), ...args], {
    cwd: CHECKOUT, stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    env: {
      PATH: process.env['PATH'], HOME: home, TMPDIR: process.env['TMPDIR'], SWARM_HOME: home, SWARM_CACHE: join(home, 'cache'), SWARM_PORT: String(port), SWARM_VM_DRIVER: 'process', SWARM_CONCURRENCY: '1',
      SWARM_RATE_ADMIN: '1000000', SWARM_CRASH_AT: String(Math.max(0, at)), ...(logged && at >= 0 ? { SWARM_CRASH_LOG: join(home, 'boundaries.log') } : {}),
    },
  })
  const { stdout } = child
  if (!stdout) throw new Error('the pipe that was asked for is missing')
  child.stdio[3]?.on('error', () => undefined) // our end of the tether, after a kill
  const ended = once(child, 'exit').then(() => undefined)
  const lines = createInterface({ input: stdout })
  const ready = new Promise<void>((resolve) => { lines.on('line', (line) => { if (line.startsWith('{"ready":true')) resolve() }) })
  await Promise.race([ready, ended.then(() => { throw new Error(`the ${name} ended before it was ready`) })])
  return {
    ended,
    async stop() {
      child.kill('SIGTERM')
      await ended
    },
  }
}
