import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '@swarm/contract/config.ts'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { listVms } from '@swarm/contract/endpoints/runners.ts'
import { registerRunner } from '@swarm/contract/runner-protocol.ts'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { startChild, type Child } from './child.ts'
import { tryLock } from './lock.ts'
import { lockPathOf, readRunFile, writeRunFile } from './run-file.ts'

/** The runner that belongs to the platform of this machine. */
const LOCAL_RUNNER = 'local'
/** A runner saves the work of its microVMs before it goes; the server waits for requests, the rehearsal for nobody. */
const STOP_MS = { runner: 60_000, server: 20_000, rehearsal: 3_000 } as const

export interface PlatformOptions {
  readonly config: Config
  /** 0: any free port. The settings' own unless given. */
  readonly port?: number
  /** Absolute path of a script: the rehearsal model serves. */
  readonly rehearsalScript?: string
  /** Changes of the processes' environment. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Without a runner nothing is worked on. */
  readonly runner?: boolean
  readonly signal?: AbortSignal
  readonly onNotice?: (line: string) => void
}

export interface Platform extends AsyncDisposable {
  readonly url: string
  readonly token: string
  readonly client: Client
  /** `rehearsal`, or what the settings say. */
  readonly model: string
  /** The runner's driver, and whether it keeps what runs in it from this machine; null without a runner. */
  readonly driver: string | null
  readonly isolates: boolean | null
  /** Address of the rehearsal model, which tells how its script went; null without one. */
  readonly rehearsalUrl: string | null
  /** Resolves when one of the processes ended by itself, with what to say about it. */
  readonly broken: Promise<UserError>
  /** Stops the runner, and tells what microVMs the server still has on record then. The rest is stopped by disposing. */
  stopRunner(): Promise<{ recorded: number }>
}

/**
 * Starts rehearsal, server and runner as processes that die with this one, and says where they are in `<home>/run`.
 * Disposing stops them in order: the runner gives its work back, then the server, then the rehearsal.
 * @throws UserError: what kept one of them from starting, or that the home has a platform already
 */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const { config, signal } = options
  const { home } = config
  await using started = new AsyncDisposableStack()
  const lock = await tryLock(lockPathOf(home))
  if (lock === null) throw alreadyRunning(home)
  started.use(lock)
  const env = { SWARM_HOME: home, SWARM_CACHE: config.cache, ...options.env }
  const base = signal ? { signal } : {}

  let rehearsalUrl: string | null = null
  if (options.rehearsalScript !== undefined) {
    mkdirSync(join(home, 'logs'), { recursive: true, mode: 0o700 })
    const rehearsal = started.use(await startChild({
      ...base, name: 'rehearsal', program: 'packages/testkit/rehearsal/main.ts', args: ['--script', options.rehearsalScript, '--port', '0', '--log', join(home, 'logs', 'rehearsal.jsonl')], env, stopMs: STOP_MS.rehearsal,
    }))
    rehearsalUrl = String(rehearsal.ready['url'])
  }

  const server = started.use(await startChild({
    ...base, name: 'server', program: 'packages/server/main.ts', stopMs: STOP_MS.server,
    env: { ...env, ...(rehearsalUrl === null ? {} : { SWARM_MODEL_PROVIDER: 'rehearsal', SWARM_MODEL_BASE_URL: rehearsalUrl }), ...(options.port === undefined ? {} : { SWARM_PORT: String(options.port) }) },
  }))
  const url = reachable(String(server.ready['url']))
  const token = readAdminToken(home)
  const client = createClient({ baseUrl: url, token })

  const children: Child[] = [server]
  let runner: Child | null = null
  if (options.runner !== false) {
    const folder = join(home, 'runner', LOCAL_RUNNER)
    const registered = await client.call(registerRunner, { body: { name: LOCAL_RUNNER } })
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    writeFileSync(join(folder, 'token'), `${registered.token}\n`, { mode: 0o600 })
    runner = started.use(await startChild({
      ...base, name: 'runner', program: 'packages/runner/main.ts', args: ['--server', url, '--name', LOCAL_RUNNER, '--token-file', join(folder, 'token')], env, stopMs: STOP_MS.runner,
    }))
    children.push(runner)
    const unenforced = runner.ready['unenforced']
    for (const limit of Array.isArray(unenforced) ? unenforced : []) options.onNotice?.(`this host cannot enforce a limit of microVMs: ${String(limit)}`)
    if (runner.ready['isolates'] === false) options.onNotice?.('WARNING: the process driver isolates nothing: agents run as this user on this machine')
  }

  const label = options.rehearsalScript === undefined ? config.model.provider : 'rehearsal'
  started.use(writeRunFile(home, { url, model: label, startedAt: Date.now() }))
  const running = started.move()
  let stopping = false
  return {
    url, token, client, model: label, rehearsalUrl,
    driver: runner === null ? null : String(runner.ready['driver']), isolates: runner === null ? null : runner.ready['isolates'] === true,
    broken: Promise.race(children.map(async (child) => {
      const how = await child.ended
      if (stopping) return new Promise<never>(() => undefined)
      return new UserError('platform_ended', `The ${child.name} ended unexpectedly: ${how}.`, `Its log is ${join(home, 'logs', child.name === 'runner' ? `runner-${LOCAL_RUNNER}.log` : 'server.log')}; run the same command again, it goes on where it was.`, EXIT.platform)
    })),
    async stopRunner() {
      stopping = true
      await runner?.[Symbol.asyncDispose]()
      const states = await Promise.all((['starting', 'running'] as const).map((state) => client.call(listVms, { query: { state, limit: 1000 } })))
      return { recorded: states.reduce((sum, { items }) => sum + items.length, 0) }
    },
    async [Symbol.asyncDispose]() {
      stopping = true
      await running.disposeAsync()
    },
  }
}

export function alreadyRunning(home: string): UserError {
  const live = readRunFile(home)
  return new UserError('already_running', live === null ? `Another swarm is using ${home} right now (it is starting or stopping).` : `A platform runs on ${home} already: ${live.url} (process ${live.pid}).`,
    'Stop it with "swarm stop", or take another folder with SWARM_HOME.', EXIT.platform)
}

/** @throws UserError when this home holds no token of its server */
export function readAdminToken(home: string): string {
  try {
    return readFileSync(join(home, 'admin-token'), 'utf8').trim()
  } catch {
    throw new UserError('admin_token_missing', `There is no admin token in ${home}.`, 'The database belongs to another home folder: set SWARM_HOME to that one, or copy its file admin-token here.', EXIT.platform)
  }
}

/** The address for callers on this machine of a server that listens on all of its addresses. */
function reachable(url: string): string {
  return url.replace('://0.0.0.0:', '://127.0.0.1:').replace('://[::]:', '://[::1]:')
}
