import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readAdminToken } from '@swarm/cli/platform/platform.ts'
import { startChild } from '@swarm/cli/platform/child.ts'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { registerRunner } from '@swarm/contract/runner-protocol.ts'
import { SCRIPT } from './fleet.ts'
import { mountBounded } from './keeper.ts'
import { supervise, type Supervised } from './supervisor.ts'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'
import { freePort } from '../platform/free-port.ts'

/**
 * Leases are short, so that one that ran out is seen within a short run (the defaults are 30 s and 10 s). Emulated microVMs
 * leave the others less of the CPU and take some ten times as long for the same work.
 */
const PACES = {
  process: { lease: { ttlMs: 4_000, beatMs: 1_000 }, concurrency: 4, inFlight: 10, patienceMs: 30_000, settleMs: 240_000 },
  qemu: { lease: { ttlMs: 8_000, beatMs: 2_000 }, concurrency: 2, inFlight: 8, patienceMs: 120_000, settleMs: 900_000 },
} as const
export type Pace = typeof PACES[keyof typeof PACES]
/** The home is on a file system of this size, so that it can be filled. */
const DISK_BYTES = 384 * 1024 ** 2
export const RUNNER_NAME = 'chaos'

export interface Installation extends AsyncDisposable {
  readonly folder: string
  readonly home: string
  /** State of the runner: its microVMs are found there. */
  readonly runnerFolder: string
  readonly driver: 'qemu' | 'process'
  readonly pace: Pace
  /** Null when the home is on a small file system of its own, else why it is not. */
  readonly unbounded: string | null
  readonly databaseUrl: string | undefined
  /** As admin, straight to the server. */
  readonly client: Client
  readonly serverUrl: string
  readonly server: Supervised
  readonly runner: Supervised
  /** Between runner and server, and between server and model. */
  readonly runnerLink: TcpProxy
  readonly modelLink: TcpProxy
  readonly rehearsalUrl: string
  readonly modelLog: string
}

/** A whole installation in a temporary folder, as real processes with proxies between them. */
export async function startInstallation(options: { driver: 'qemu' | 'process'; databaseUrl?: string | undefined; onNote: (line: string) => void; signal: AbortSignal }): Promise<Installation> {
  const { onNote, signal } = options
  await using started = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'swarm-chaos-'))
  started.defer(() => { rmSync(folder, { recursive: true, force: true, maxRetries: 5 }) })
  const home = join(folder, 'home')
  mkdirSync(home, { mode: 0o700 })
  let unbounded: string | null = null
  try {
    started.use(await mountBounded(home, DISK_BYTES))
  } catch (error) {
    unbounded = `a small file system cannot be mounted here: ${error instanceof Error ? error.message : String(error)}`
  }

  const scriptFile = join(folder, 'script.yml')
  writeFileSync(scriptFile, SCRIPT)
  const modelLog = join(folder, 'rehearsal.jsonl')
  const rehearsal = started.use(await startChild({ name: 'rehearsal', program: 'packages/testkit/rehearsal/main.ts', args: ['--script', scriptFile, '--port', '0', '--log', modelLog], stopMs: 3_000, signal }))
  const rehearsalUrl = String(rehearsal.ready['url'])
  const modelLink = started.use(await startTcpProxy({ port: Number(new URL(rehearsalUrl).port) }))

  const port = await freePort()
  const pace: Pace = PACES[options.driver]
  const env = {
    SWARM_HOME: home, SWARM_PORT: String(port), SWARM_VM_DRIVER: options.driver, SWARM_VM_MEMORY_MB: '512', SWARM_VM_WARM: '1', SWARM_CONCURRENCY: String(pace.concurrency),
    SWARM_LEASE_TTL_MS: String(pace.lease.ttlMs), SWARM_LEASE_BEAT_MS: String(pace.lease.beatMs), SWARM_LEASE_CHECKPOINT_MS: '300', SWARM_RATE_ADMIN: '1000000', SWARM_CLOSE_DEADLINE_MS: '2000',
    SWARM_MODEL_PROVIDER: 'rehearsal', SWARM_MODEL_BASE_URL: `http://127.0.0.1:${modelLink.port}`, ANTHROPIC_API_KEY: undefined, SWARM_DATABASE_URL: options.databaseUrl, DATABASE_URL: undefined,
  }
  const server = started.use(await supervise({ name: 'server', program: 'packages/server/main.ts', env, stopMs: 20_000 }, onNote))
  const serverUrl = `http://127.0.0.1:${port}`
  const runnerLink = started.use(await startTcpProxy({ port }))
  const client = createClient({ baseUrl: serverUrl, token: readAdminToken(home) })

  const runnerFolder = join(home, 'runner', RUNNER_NAME)
  mkdirSync(runnerFolder, { recursive: true, mode: 0o700 })
  const tokenFile = join(folder, 'runner-token')
  writeFileSync(tokenFile, `${(await client.call(registerRunner, { body: { name: RUNNER_NAME } }, { signal })).token}\n`, { mode: 0o600 })
  const runner = started.use(await supervise({
    name: 'runner', program: 'packages/runner/main.ts', args: ['--server', `http://127.0.0.1:${runnerLink.port}`, '--name', RUNNER_NAME, '--token-file', tokenFile], env, stopMs: 30_000,
  }, onNote))
  const running = started.move()
  return {
    folder, home, runnerFolder, driver: options.driver, pace, unbounded, databaseUrl: options.databaseUrl, client, serverUrl, server, runner, runnerLink, modelLink, rehearsalUrl, modelLog,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}
