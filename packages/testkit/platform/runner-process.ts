import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { registerRunner } from '@swarm/contract/runner-protocol.ts'
import type { Client } from '@swarm/contract/client.ts'

/** A runner as a process of its own, with the process driver: to be killed, stopped and started again. */
export interface RunnerProcess extends AsyncDisposable {
  readonly child: ChildProcess
  readonly home: string
  /** Folder of its microVMs. */
  readonly folders: string
  log(): string
  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' | 'SIGTERM'): void
  exited(): Promise<void>
}

/** Registers a runner (or renews its token). Returns the file of the token; it goes with `home`. */
export async function runnerHome(admin: Client, name = 'local'): Promise<Disposable & { home: string; tokenFile: string; name: string }> {
  const home = mkdtempSync(join(tmpdir(), 'swarm-runner-home-'))
  const { token } = await admin.call(registerRunner, { body: { name } })
  const tokenFile = join(home, 'token')
  writeFileSync(tokenFile, token, { mode: 0o600 })
  return { home, tokenFile, name, [Symbol.dispose]: () => { rmSync(home, { recursive: true, force: true, maxRetries: 5 }) } }
}

/** Starts it and returns when it is ready for work. */
export async function startRunnerProcess(place: { home: string; tokenFile: string; name: string }, serverUrl: string, env: Record<string, string> = {}): Promise<RunnerProcess> {
  const main = fileURLToPath(new URL('../../runner/main.ts', import.meta.url))
  const compileCache = new URL('../../../bin/compile-cache.mjs', import.meta.url).href
  const child = spawn(process.execPath, ['--import', compileCache, main, '--server', serverUrl, '--name', place.name, '--token-file', place.tokenFile], {
    env: { PATH: process.env['PATH'], HOME: place.home, SWARM_HOME: place.home, SWARM_VM_DRIVER: 'process', SWARM_CONCURRENCY: '1', ...env }, stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = text(child.stderr)
  const ended = once(child, 'exit')
  const line = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended.then(() => null)])
  if (line === null) throw new Error(`the runner ended: ${await said}`)
  const stateDir = join(place.home, 'runner', place.name)
  return {
    child, home: place.home, folders: join(stateDir, 'processes'),
    log: () => readFileSync(join(place.home, 'logs', `runner-${place.name}.log`), 'utf8'),
    kill: (signal) => { child.kill(signal) },
    exited: async () => { await ended },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGCONT')
      child.kill('SIGTERM')
      await ended
    },
  }
}

/** Living processes whose environment says that they belong to a home folder's microVMs. */
export function processesOf(home: string): number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const inside = readFileSync(`/proc/${name}/environ`, 'utf8').split('\0').some((each) => each.startsWith('SWARM_SLOT=')) && readFileSync(`/proc/${name}/environ`, 'utf8').includes(`HOME=${home}/runner/`)
      return inside && !/^\S+ \(.*\) Z/.test(readFileSync(`/proc/${name}/stat`, 'utf8')) ? [Number(name)] : []
    } catch {
      return [] // ended meanwhile, or is somebody else's
    }
  })
}
