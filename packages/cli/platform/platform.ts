import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Config } from '@swarm/contract/config.ts'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { listVms } from '@swarm/contract/endpoints/runners.ts'
import { registerRunner } from '@swarm/contract/runner-protocol.ts'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { startChild, type Child, type ChildOptions } from './child.ts'
import { tryLock } from './lock.ts'
import { patientFetch } from './patient-fetch.ts'
import { lockPathOf, readRunFile, removeRunFile, writeRunFile } from './run-file.ts'
import { supervise, type Supervised, type SuperviseOptions } from './supervise.ts'
import { RUNNER_LIMITS, runnerIsHeardOf, SERVER_LIMITS, serverAnswers, untilSilent } from './watchdog.ts'

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
  /** Resolves when one of the processes ended and cannot be started again, with what to say about it. */
  readonly broken: Promise<UserError>
  /** Stops the runner, and tells what microVMs the server still has on record then. The rest is stopped by disposing. */
  stopRunner(): Promise<{ recorded: number }>
}

/**
 * Starts rehearsal, server and runner as processes that die with this one, and says where they are in `<home>/run`. One that ends
 * unasked, or a server that hangs, is started again at the same address; the work goes on from the database.
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
  // The key of the store of secrets is the server's alone.
  const keylessEnv = { ...env, SWARM_SECRETS_KEYS: undefined, SWARM_SECRETS_KEY_COMMAND: undefined }
  const onNotice = options.onNotice ?? (() => undefined)
  const parts: Supervised[] = []
  /** Null until everything runs: the run file is for a platform that can be used. */
  let about: { url: string; model: string; startedAt: number } | null = null
  const onChange = (): void => {
    if (about) writeRunFile(home, { ...about, processes: parts.map(({ name, pid, restarts, lastEnd }) => ({ name, pid: pid(), restarts: restarts(), lastEnd: lastEnd() })) })
  }
  /** Starts a process, and again whenever it ends unasked; `again`: what is different then, such as the port that it got. */
  async function run(child: ChildOptions, again: (first: Child) => Partial<ChildOptions>, more: Pick<SuperviseOptions, 'watch'> & { before?: (ended: Child, stopping: AbortSignal) => Promise<void> } = {}): Promise<Child> {
    const first = await startChild({ ...child, ...(signal ? { signal } : {}) })
    const changed = again(first)
    const part = started.use(supervise(first, {
      onNotice, onChange, ...(more.watch ? { watch: more.watch } : {}),
      async start(ended, stopping) {
        await more.before?.(ended, stopping)
        return await startChild({ ...child, ...changed, signal: stopping })
      },
    }))
    parts.push(part)
    return first
  }

  let rehearsalUrl: string | null = null
  if (options.rehearsalScript !== undefined) {
    mkdirSync(join(home, 'logs'), { recursive: true, mode: 0o700 })
    const args = (port: string): string[] => ['--script', options.rehearsalScript ?? '', '--port', port, '--log', join(home, 'logs', 'rehearsal.jsonl')]
    const rehearsal = await run({ name: 'rehearsal', program: 'packages/testkit/rehearsal/main.ts', args: args('0'), env: keylessEnv, stopMs: STOP_MS.rehearsal }, (first) => ({ args: args(portOf(first)) }))
    rehearsalUrl = String(rehearsal.ready['url'])
  }

  const serverEnv = { ...env, ...(rehearsalUrl === null ? {} : { SWARM_MODEL_PROVIDER: 'rehearsal', SWARM_MODEL_BASE_URL: rehearsalUrl }) }
  let url = ''
  await run(
    { name: 'server', program: 'packages/server/main.ts', stopMs: STOP_MS.server, env: { ...serverEnv, ...(options.port === undefined ? {} : { SWARM_PORT: String(options.port) }) } },
    (first) => {
      url = reachable(String(first.ready['url']))
      return { env: { ...serverEnv, SWARM_PORT: portOf(first) } }
    },
    { watch: (over) => untilSilent(serverAnswers(url), SERVER_LIMITS, over) },
  )
  const token = readAdminToken(home)
  const client = createClient({ baseUrl: url, token, fetch: patientFetch })

  let runner: Child | null = null
  if (options.runner !== false) {
    const tokenFile = join(home, 'runner', LOCAL_RUNNER, 'token')
    const register = async (until?: AbortSignal): Promise<void> => {
      const registered = await client.call(registerRunner, { body: { name: LOCAL_RUNNER } }, until ? { signal: until } : {})
      mkdirSync(dirname(tokenFile), { recursive: true, mode: 0o700 })
      writeFileSync(tokenFile, `${registered.token}\n`, { mode: 0o600 })
    }
    await register(signal)
    runner = await run(
      { name: 'runner', program: 'packages/runner/main.ts', args: ['--server', url, '--name', LOCAL_RUNNER, '--token-file', tokenFile], env: keylessEnv, stopMs: STOP_MS.runner },
      () => ({}),
      // Registering takes the token before away: only when that one is refused.
      {
        watch: (over) => untilSilent(runnerIsHeardOf(createClient({ baseUrl: url, token }), LOCAL_RUNNER), RUNNER_LIMITS, over),
        before: async (ended, stopping) => { if (ended.failure()?.code === 'unauthenticated') await register(stopping) },
      },
    )
    const unenforced = runner.ready['unenforced']
    for (const limit of Array.isArray(unenforced) ? unenforced : []) onNotice(`this host cannot enforce a limit of microVMs: ${String(limit)}`)
    if (runner.ready['isolates'] === false) onNotice('WARNING: the process driver isolates nothing: agents run as this user on this machine')
  }

  const label = options.rehearsalScript === undefined ? config.model.provider : 'rehearsal'
  about = { url, model: label, startedAt: Date.now() }
  started.defer(() => {
    about = null
    removeRunFile(home)
  })
  onChange()
  const running = started.move()
  return {
    url, token, client, model: label, rehearsalUrl,
    driver: runner === null ? null : String(runner.ready['driver']), isolates: runner === null ? null : runner.ready['isolates'] === true,
    broken: Promise.race(parts.map(({ gaveUp }) => gaveUp)),
    async stopRunner() {
      await parts.find(({ name }) => name === 'runner')?.[Symbol.asyncDispose]()
      const states = await Promise.all((['starting', 'running'] as const).map((state) => client.call(listVms, { query: { state, limit: 1000 } })))
      return { recorded: states.reduce((sum, { items }) => sum + items.length, 0) }
    },
    async [Symbol.asyncDispose]() {
      await running.disposeAsync()
    },
  }
}

/** The port that a process got, which the next one of its kind must have. */
const portOf = (child: Child): string => new URL(String(child.ready['url'])).port

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
