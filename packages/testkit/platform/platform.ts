import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { registerRunner } from '@swarm/contract/runner-protocol.ts'
import { startRunner } from '@swarm/runner/app.ts'
import { createMachines } from '@swarm/runner/attempts/machines.ts'
import { createHostAdmission } from '@swarm/runner/host/host-admission.ts'
import { selectDriver } from '@swarm/runner/drivers/select.ts'
import type { VmDriver } from '@swarm/runner/drivers/driver.ts'
import { createRunnerLogger } from '@swarm/runner/logger.ts'
import { sqlitePlace, type TestDatabase } from '@swarm/server/db/testing.ts'
import { startTestServer, type TestServer } from '@swarm/server/testing.ts'

export interface TestPlatform extends AsyncDisposable {
  readonly server: TestServer
  readonly driver: VmDriver
  readonly home: string
  /** Folder of what the runner writes. */
  readonly state: string
}

/** A server and a runner in this process, over a fresh database, with real microVMs (or plain processes, by `driver`). */
export async function startTestPlatform(options: {
  driver?: 'auto' | 'firecracker' | 'qemu' | 'process'; slots?: number; settings?: Record<string, unknown>; place?: TestDatabase
  /** PEM of authorities that the runner trusts besides the system's. */
  ca?: string
} = {}): Promise<TestPlatform> {
  await using started = new AsyncDisposableStack()
  const place = options.place ?? started.use(await sqlitePlace())
  const server = started.use(await startTestServer(place, { settings: { 'vm.memoryMb': 512, cache: cacheFolder(), ...options.settings } }))
  const { config } = server.context
  const state = mkdtempSync(join(tmpdir(), 'swarm-runner-'))
  started.defer(() => { rmSync(state, { recursive: true, force: true }) })
  const driver = started.use(await selectDriver({ driver: options.driver ?? 'auto', cache: config.cache, stateDir: state, warm: 1, onNotice: () => {} }))
  const closing = new AbortController()
  started.defer(() => { closing.abort(new Error('the test is over')) })
  const { token } = await server.admin.call(registerRunner, { body: { name: 'local' } })
  started.use(startRunner({
    serverUrl: server.url, token, attemptSlots: options.slots ?? 2, checkSlots: 1, logger: createRunnerLogger('silent', undefined),
    machines: createMachines({ closing: closing.signal, driver, admission: createHostAdmission(config), settings: config, serverUrl: server.url, onProgress: () => {}, ...(options.ca === undefined ? {} : { ca: options.ca }) }),
  }))
  const running = started.move()
  return { server, driver, home: place.home, state, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

/** The cache of this machine: the image is built once, not once a test. */
function cacheFolder(): string {
  return process.env['SWARM_CACHE'] ?? join(process.env['HOME'] ?? '/root', '.cache', 'swarm')
}
