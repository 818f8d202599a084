import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { randomUUID } from 'node:crypto'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { createProject } from '@swarm/contract/endpoints/projects.ts'
import { createRepository } from '@swarm/contract/endpoints/repositories.ts'
import { claim, registerRunner, type Work } from '@swarm/contract/runner-protocol.ts'
import { openDatabase } from '@swarm/server/db/open.ts'
import type { Database } from '@swarm/server/db/database.ts'
import { createTicketCommands } from '@swarm/server/features/tickets/commands.ts'
import { newId } from '@swarm/server/ids.ts'

const PROGRAM = join(import.meta.dirname, '../../packages/server/main.ts')
/** A benchmark is not to be slowed by the limits on strangers. */
const GENEROUS = '100000000'

/** A folder of this run that disappears with it. */
export function folder(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'swarm-bench-'))
  return { path, [Symbol.dispose]: () => { rmSync(path, { recursive: true, force: true }) } }
}

export interface ServerProcess extends AsyncDisposable {
  readonly url: string
  readonly token: string
  readonly admin: Client
  /** kill -9, and until it is gone. */
  kill(): Promise<void>
}

/** The real server as a process of its own over this home folder, on any free port. */
export async function startServer(home: string): Promise<ServerProcess> {
  const child = spawn(process.execPath, [PROGRAM], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'], HOME: home, SWARM_HOME: home, SWARM_CACHE: join(home, 'cache'), SWARM_PORT: '0', SWARM_LOG_LEVEL: 'error', SWARM_MODEL_PROVIDER: 'rehearsal',
      SWARM_RATE_ANONYMOUS: GENEROUS, SWARM_RATE_ADMIN: GENEROUS, SWARM_RATE_RUNNER: GENEROUS, SWARM_RATE_ATTEMPT: GENEROUS,
    },
  })
  const ended = new Promise<void>((resolve) => { child.once('exit', () => resolve()) })
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (line) => { resolve((JSON.parse(line) as { url: string }).url) })
    child.once('exit', (code) => { reject(new Error(`the server ended with ${code} before it served`)) })
  })
  const token = readFileSync(join(home, 'admin-token'), 'utf8').trim()
  const stop = async (signal: 'SIGTERM' | 'SIGKILL') => {
    child.kill(signal)
    await ended
  }
  return { url, token, admin: createClient({ baseUrl: url, token }), kill: () => stop('SIGKILL'), [Symbol.asyncDispose]: () => stop('SIGTERM') }
}

export interface Place { readonly projectId: string; readonly repositoryId: string }

/** A project that lets a thousand work at once, with a repository without checks. */
export async function createPlace(admin: Client, slug = 'bench'): Promise<Place> {
  const project = await admin.call(createProject, { body: { slug, settings: { concurrency: 1000 } } })
  const repository = await admin.call(createRepository, { body: { projectId: project.id, slug, swarmYml: 'checks: { test: "true" }\n' } })
  return { projectId: project.id, repositoryId: repository.id }
}

/** A runner as the server sees one: it asks for work over HTTP, and carries out nothing. */
export async function registerBenchRunner(server: ServerProcess, name: string): Promise<{ client: Client; claim: (waitMs: number, kinds?: ('attempt' | 'check')[]) => Promise<Work | null> }> {
  const { token } = await server.admin.call(registerRunner, { body: { name } })
  const client = createClient({ baseUrl: server.url, token })
  const bootId = randomUUID()
  return {
    client,
    claim: async (waitMs, kinds = ['attempt']) => (await client.call(claim, { body: { waitMs, kinds, driver: 'process', isolates: false, capacity: 1000, bootId, claimKey: randomUUID() } })).work,
  }
}

const WIDTH_SHARE = 10
/** Tickets in one unit of writing. */
const BATCH = 500

/**
 * Tickets as a graph of ten layers; each depends on two of the layer above, so that a tenth can be claimed.
 * `layers: 1` makes them all independent.
 */
export async function seedTickets(db: Database, place: Place, count: number, layers = WIDTH_SHARE): Promise<string[]> {
  const commands = createTicketCommands({ now: Date.now, random: Math.random, makeId: newId })
  const width = Math.ceil(count / layers)
  const ids: string[] = []
  while (ids.length < count) {
    const from = ids.length
    // Within one layer: keys of the layers above are ids by then.
    const until = Math.min(count, from + BATCH, (Math.floor(from / width) + 1) * width)
    const made = await db.write((trx) => commands.createMany(trx, {
      ...place, sessionId: null, correlationId: 'bench',
      tickets: Array.from({ length: until - from }, (_, offset) => {
        const index = from + offset
        const above = index - width
        const dependsOn = above < 0 ? [] : [...new Set([ids[above]!, ids[Math.floor(above / width) * width + (above * 7 + 3) % width]!])]
        return {
          key: `${index}-${newId('call')}`, title: `Ticket ${index}`, description: 'Written by the benchmark.', acceptance: ['it works'], scope: [`src/part-${index}.js`],
          requirements: [], dependsOn, storyPoints: 1, wave: 1 + Math.floor(index / width), agent: 'developer',
        }
      }),
    }))
    ids.push(...made.values())
  }
  return ids
}

/** Opens the database of a home whose server does not run. */
export async function openHome(home: string): Promise<Database> {
  return openDatabase({ home })
}

/** Project, repository, runner and agent as rows only, for what never touches git. */
export async function placeInDatabase(db: Database): Promise<Place & { runnerId: string }> {
  const [projectId, repositoryId, runnerId, now] = [newId('project'), newId('repository'), newId('runner'), Date.now()]
  await db.write(async (trx) => {
    await trx.insertInto('projects').values({ id: projectId, slug: projectId.toLowerCase(), name: 'bench', settings: '{}', created_at: now }).execute()
    await trx.insertInto('repositories').values({ id: repositoryId, project_id: projectId, slug: 'bench', default_branch: 'main', origin: null, created_at: now }).execute()
    await trx.insertInto('runners').values({ id: runnerId, name: runnerId.toLowerCase(), boot_id: null, driver: 'process', isolates: 0, capacity: 1000, seen_at: now, created_at: now }).execute()
  })
  return { projectId, repositoryId, runnerId }
}
