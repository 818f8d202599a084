import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Image } from '../../images/image.ts'
import type { Template, Vm, VmDriver } from '../driver.ts'
import { identifyProcess } from '../../host/processes.ts'
import { selectDriver } from '../select.ts'

let [stateDir, driver, template]: [string, VmDriver, Template] = ['', null as never, null as never]
const notices: string[] = []
beforeAll(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'swarm-process-test-'))
  driver = await selectDriver({ driver: 'process', cache: stateDir, stateDir, onNotice: (notice) => notices.push(notice) })
  template = await driver.buildTemplate({} as Image, { vcpus: 1, memoryMb: 512, scratchMb: 512 })
})
afterAll(async () => {
  await driver[Symbol.asyncDispose]()
  expect(readdirSync(stateDir)).toEqual([])
  rmSync(stateDir, { recursive: true, force: true })
})

test('the process driver says that it isolates nothing', () => {
  expect(driver.isolates).toBe(false)
  expect(notices.join()).toContain('ISOLATES NOTHING')
})

test('a process VM runs commands under the paths of a real one and takes them away with it', async () => {
  const vm = await driver.restore(template, { id: 'VM-PROCESS1', limits: {}, correlationId: 'test' })
  const result = await vm.exec({ argv: ['/bin/sh', '-c', 'cat > file; pwd; exit 3'], cwd: '/work/repository', stdin: 'text' })
  expect(result).toMatchObject({ code: 3, stdout: `${vm.workspace}\n` })
  expect(existsSync(join(vm.workspace, 'file'))).toBe(true)
  await vm[Symbol.asyncDispose]()
  expect(existsSync(vm.workspace)).toBe(false)
  await expect(vm.exec({ argv: ['true'] })).rejects.toMatchObject({ code: 'vm_ended' })
})

test('a daemon holds up neither its exec nor the end of its process VM, and ends with it, even without a trace in its environment', async () => {
  const vm = await driver.restore(template, { id: 'VM-PROCESS5', limits: {}, correlationId: 'test' })
  const result = await vm.exec({ argv: ['/bin/sh', '-c', 'setsid sleep 61 & echo $!; setsid env -i /bin/sleep 62 & echo $!; sleep 0.3'] })
  expect(result).toMatchObject({ code: 0, timedOut: false })
  const pids = result.stdout.trim().split('\n').map(Number)
  expect(pids).toHaveLength(2)
  const held = vm.exec({ argv: ['/bin/sh', '-c', 'setsid sleep 63 & sleep 64'] })
  held.catch(() => {}) // its VM ends
  await vm[Symbol.asyncDispose]()
  await expect(held).rejects.toMatchObject({ code: 'vm_ended' })
  expect(pids.map(identifyProcess)).toEqual([null, null])
})

test('a process VM hands the connections of its processes to the forward handler', async () => {
  await using vm = await driver.restore(template, { id: 'VM-PROCESS2', limits: {}, correlationId: 'test' })
  const server = createServer((request, response) => response.end(`proxied ${request.url}`))
  vm.onForward((stream) => void server.emit('connection', stream))
  const result = await vm.exec({ argv: [process.execPath, '--input-type=module', '-e', 'import { get } from "node:http"; get("http://host.example/a", (r) => r.pipe(process.stdout))'] })
  expect(result).toMatchObject({ code: 0, stdout: 'proxied http://host.example/a' })
  expect(await vm.stats()).toMatchObject({ openForwards: 0, egressBytes: expect.toSatisfy((bytes: number) => bytes > 'GET http://host.example/a'.length) })
})

test('a process VM says what its processes and its folder use', async () => {
  await using vm = await driver.restore(template, { id: 'VM-PROCESS4', limits: {}, correlationId: 'test' })
  const idle = await vm.stats()
  expect(idle).toMatchObject({ cpuMs: 0, rssBytes: 0, pssBytes: 0, egressBytes: 0 })
  const cancel = new AbortController()
  const said = Promise.withResolvers<void>()
  // The CPU time is that of a child that has ended, the memory that of the shell, and the loop goes on.
  const running = vm.exec({ argv: ['/bin/sh', '-c', 'head -c 3000000 /dev/zero > zeros; sha256sum zeros zeros zeros zeros zeros > /dev/null; echo said; while :; do :; done'], signal: cancel.signal, onStdout: () => said.resolve() })
  running.catch(() => {}) // it is cancelled below
  await said.promise
  const busy = await vm.stats()
  expect(busy.cpuMs).toBeGreaterThanOrEqual(10)
  expect(busy.rssBytes).toBeGreaterThan(100_000)
  expect(busy.pssBytes).toBeGreaterThan(0)
  expect(busy.scratchBytes - idle.scratchBytes).toBeGreaterThanOrEqual(3_000_000)
  await vm.pause()
  const paused = (await vm.stats()).cpuMs
  const standing = await later(vm, 200)
  expect(standing - paused).toBeLessThanOrEqual(10)
  await vm.resume()
  await expect.poll(async () => (await vm.stats()).cpuMs).toBeGreaterThan(paused + 50)
  cancel.abort(new Error('enough'))
  await expect(running).rejects.toThrow('enough')
})

async function later(vm: Vm, ms: number): Promise<number> {
  await delay(ms)
  return (await vm.stats()).cpuMs
}

test('a process VM ends commands at their timeout and caps their output', async () => {
  await using vm = await driver.restore(template, { id: 'VM-PROCESS3', limits: {}, correlationId: 'test' })
  expect(await vm.exec({ argv: ['/bin/sh', '-c', 'sleep 1000 & sleep 1000'], timeoutMs: 200 })).toMatchObject({ timedOut: true, signal: 'SIGKILL' })
  expect(await vm.exec({ argv: ['/bin/sh', '-c', 'yes | head -c 1000000'], maxOutputBytes: 10 })).toMatchObject({ truncated: true, stdout: 'y\ny\ny\ny\ny\n' })
})

test('processes of a VM with an authority trust it besides what this host trusts, and others do not know it', async () => {
  const authority = '-----BEGIN CERTIFICATE-----\nof a test\n-----END CERTIFICATE-----\n'
  await using vm = await driver.restore(template, { id: 'VM-PROCESS6', limits: {}, correlationId: 'test', authority })
  const told = await vm.exec({ argv: ['/bin/sh', '-c', 'cat "$NODE_EXTRA_CA_CERTS"; for file in "$SSL_CERT_FILE" "$GIT_SSL_CAINFO" "$CURL_CA_BUNDLE" "$npm_config_cafile"; do grep -c BEGIN "$file"; grep -c "of a test" "$file"; done'] })
  expect(told.stdout.startsWith(authority)).toBe(true)
  const counts = told.stdout.slice(authority.length).trim().split('\n').map(Number)
  expect(counts.map((count, index) => index % 2 === 1 ? count : count > 50)).toEqual(Array.from({ length: 8 }, (_, index) => index % 2 === 1 ? 1 : true))
  await using other = await driver.restore(template, { id: 'VM-PROCESS7', limits: {}, correlationId: 'test' })
  expect((await other.exec({ argv: ['/bin/sh', '-c', 'echo "$NODE_EXTRA_CA_CERTS"'] })).stdout).toBe('\n')
})
