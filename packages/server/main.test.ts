import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { createClient } from '@swarm/contract/client.ts'
import { health } from '@swarm/contract/endpoints/system.ts'
import { afterEach, beforeEach, expect, test } from 'vitest'

let home: string
let running: ChildProcess[] = []
beforeEach(() => { home = mkdtempSync(join(tmpdir(), 'swarm-main-')) })
afterEach(async () => {
  for (const child of running) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  running = []
  rmSync(home, { recursive: true, force: true })
})

function start(env: Record<string, string>) {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./main.ts', import.meta.url))], {
    env: { PATH: process.env['PATH'], HOME: home, SWARM_HOME: join(home, 'swarm'), SWARM_PORT: '0', ...env }, stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.push(child)
  return child
}

async function firstLine(child: ReturnType<typeof start>): Promise<{ ready: boolean, url: string }> {
  for await (const line of createInterface({ input: child.stdout })) return JSON.parse(line) as { ready: boolean, url: string }
  throw new Error(`the server ended: ${await text(child.stderr)}`)
}

test('the process says when it serves, and SIGTERM ends it cleanly', async () => {
  const child = start({})
  const { ready, url } = await firstLine(child)
  expect(ready).toBe(true)
  expect(await createClient({ baseUrl: url }).call(health)).toMatchObject({ status: 'ok' })
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  expect(await exited).toEqual([0, null])
  expect(readdirSync(join(home, 'swarm')).sort()).toEqual(['admin-token', 'blobs', 'keys', 'logs', 'setup-link', 'swarm.sqlite'])
})

test.each([
  ['port_in_use', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    return { env: { SWARM_PORT: String((taken.address() as AddressInfo).port) }, end: () => { taken.close() } }
  }],
  ['config_invalid', async () => ({ env: { SWARM_PORT: 'eighty' }, end: () => undefined })],
])('what keeps it from starting is one line with the remedy, and exit code 1: %s', async (code, prepare) => {
  const { env, end } = await prepare()
  const child = start(env)
  const [errors, [exitCode]] = await Promise.all([text(child.stderr), once(child, 'exit') as Promise<[number]>])
  end()
  expect(exitCode).toBe(1)
  expect(JSON.parse(errors)).toMatchObject({ ready: false, error: { code, remedy: expect.stringMatching(/\w+/) as string } })
})
