import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { UserError } from './errors.ts'
import { startChild, type Child } from './platform/child.ts'
import { readRunFile, type RunFile } from './platform/run-file.ts'
import { supervise } from './platform/supervise.ts'
import { serverAnswers, untilSilent } from './platform/watchdog.ts'
import { makeDesk, saying, script, SHOP, SPEC, type Desk } from './testing.ts'

const RUN_MS = 300_000

async function until<T>(look: () => T | null | undefined | false | Promise<T | null | undefined | false>, what: string, timeoutMs = 120_000): Promise<T> {
  for (const end = performance.now() + timeoutMs; ;) {
    const seen = await look()
    if (seen !== null && seen !== undefined && seen !== false) return seen
    if (performance.now() > end) throw new Error(`it did not happen: ${what}`)
    await delay(50)
  }
}

type Part = RunFile['processes'][number]
const part = (desk: Desk, name: string): Part | undefined => readRunFile(desk.home)?.processes.find((each) => each.name === name)
/** Waits until a process runs, has been started again so often, and gives it. */
const running = (desk: Desk, name: string, restarts: number): Promise<Part> => until(() => {
  const found = part(desk, name)
  return found && found.pid > 0 && found.restarts >= restarts ? found : null
}, `${name} was started again ${restarts} times`)

test('a run goes on by itself when rehearsal, runner and server are killed in its middle, each once', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  desk.write('spec.md', SPEC)
  desk.write('script.yml', script(4_000))
  await desk.repository('shop', SHOP)
  const child = desk.spawn(['run', '--spec', 'spec.md', '--repo', 'shop', '--rehearsal', 'script.yml', '--yes', '--json'])
  let [stdout, stderr] = ['', '']
  child.stdout?.on('data', (chunk: Buffer) => { stdout += chunk.toString('utf8') })
  child.stderr?.on('data', (chunk: Buffer) => { stderr += chunk.toString('utf8') })
  const closed = once(child, 'close')
  await saying(child, /session SES-/)
  const url = readRunFile(desk.home)?.url
  const token = (): string => readFileSync(join(desk.home, 'runner', 'local', 'token'), 'utf8')
  const before = token()
  process.kill((await running(desk, 'rehearsal', 0)).pid, 'SIGKILL')
  await running(desk, 'rehearsal', 1)
  const agents = (): number => stderr.match(/runs the agent/g)?.length ?? 0
  await until(() => agents() >= 1, 'an agent works')
  process.kill((await running(desk, 'runner', 0)).pid, 'SIGKILL')
  await running(desk, 'runner', 1)
  await until(() => agents() >= 2, 'another agent works')
  process.kill((await running(desk, 'server', 0)).pid, 'SIGKILL')
  await running(desk, 'server', 1)
  expect(readRunFile(desk.home)?.url).toBe(url)
  expect(token()).toBe(before)
  expect(await closed, stderr).toEqual([0, null])
  expect(JSON.parse(stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({ merged: 1, mainGreen: true, tickets: [{ state: 'done', changes: 1 }], vms: { leaked: 0 } })
  for (const name of ['rehearsal', 'runner', 'server']) expect(stderr).toMatch(new RegExp(`the ${name} ended unexpectedly \\(it ended with SIGKILL\\)`))
})

test('a server or a runner that hangs is replaced, the server at the same address, and status says so', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  expect(await desk.swarm(['start', '--port', '0', '--json'])).toMatchObject({ code: 0 })
  const url = readRunFile(desk.home)?.url
  for (const name of ['server', 'runner']) {
    const { pid } = await running(desk, name, 0)
    process.kill(pid, 'SIGSTOP')
    expect((await running(desk, name, 1)).pid).not.toBe(pid)
  }
  expect(readRunFile(desk.home)?.url).toBe(url)
  expect(await desk.swarm(['status', '--json'])).toMatchObject({ code: 0, json: { running: true, processes: [{ name: 'server', restarts: 1, lastEnd: expect.stringContaining('no sign of life') as string }, { name: 'runner', restarts: 1 }] } })
  expect((await desk.swarm(['status'])).stdout).toMatch(/server +process \d+, started again 1 time \(last: it gave no sign of life/)
})

test('a process that cannot be started again ends the platform with the reason, after several tries', { timeout: 60_000 }, async () => {
  await using desk = makeDesk()
  const first = await rehearsal(desk)
  const notices: string[] = []
  await using kept = supervise(first, {
    firstWaitMs: 1, onChange: () => undefined, onNotice: (line) => notices.push(line),
    start: async () => Promise.reject(new UserError('port_in_use', 'Port 1 is in use.', 'Choose another.')),
  })
  first.kill()
  const error = await kept.gaveUp
  expect(error).toMatchObject({ code: 'port_in_use', message: expect.stringMatching(/could not be started again in 8 tries\. Port 1 is in use/) as string })
  expect(notices).toHaveLength(8)
  expect([kept.pid(), kept.restarts()]).toEqual([0, 0])
})

test('what ends again and again is started again and again; when it is told to stop, it stays stopped', { timeout: 60_000 }, async () => {
  await using desk = makeDesk()
  let child = await rehearsal(desk)
  const kept = supervise(child, { firstWaitMs: 1, onChange: () => undefined, onNotice: () => undefined, start: async () => child = await rehearsal(desk) })
  for (const times of [1, 2, 3]) {
    child.kill()
    await until(() => kept.restarts() === times && kept.pid() > 0, `started ${times} times`)
  }
  await kept[Symbol.asyncDispose]()
  expect(child.over()).toBe(true)
  expect(kept.restarts()).toBe(3)
})

test('a server counts as hanging when it answers nothing, whatever the reason; an error is an answer', { timeout: 60_000 }, async () => {
  let mode: 'error' | 'silent' = 'error'
  let asked = 0
  const server = createServer((_, response) => {
    asked++
    if (mode === 'error') response.writeHead(503).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const stop = new AbortController()
    const silent = untilSilent(serverAnswers(`http://127.0.0.1:${(server.address() as AddressInfo).port}`), { silenceMs: 200, everyMs: 50 }, stop.signal)
    await until(() => asked > 8, 'it was asked for longer than the limit')
    mode = 'silent'
    expect(await silent).toMatch(/no sign of life/)
    stop.abort()
    expect(await untilSilent(serverAnswers('http://127.0.0.1:1'), { silenceMs: 200, everyMs: 50 }, stop.signal)).toBeNull()
  } finally {
    server.closeAllConnections()
    server.close()
  }
})

async function rehearsal(desk: Desk): Promise<Child> {
  return await startChild({ name: 'rehearsal', program: 'packages/testkit/rehearsal/main.ts', args: ['--script', desk.write('script.yml', script()), '--port', '0'], stopMs: 3_000 })
}
