import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createServer } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ExecOptions, Vm, VmLimits } from '../drivers/driver.ts'
import { probeCgroups } from '../host/cgroup.ts'
import { isAlive } from '../host/processes.ts'
import { openVmJournal } from './journal.ts'
import { writeToChannel } from './testing-channel.ts'
import { openTestDriver, TEST_SIZE } from './testing.ts'

// What a guest can do at worst, tried from inside: it keeps to its limits, the host does not notice, whoever asked is told, and
// another microVM of the same runner works on all the while.
const MB = 1024 * 1024
const PIDS = 80
const cgroups = probeCgroups()

let host: Awaited<ReturnType<typeof openTestDriver>>
let vm: Vm
let neighbour: Vm
let count = 0
const restore = (limits: VmLimits) => host.driver.restore(host.template, { id: `VM-LIMIT${String(++count).padStart(3, '0')}`, limits, correlationId: 'test' })
const sh = (target: Vm, script: string, options: Partial<ExecOptions> = {}) => target.exec({ argv: ['/bin/sh', '-c', script], ...options })
const recordOf = (target: Vm) => openVmJournal(join(host.stateDir, 'vms')).records().find(({ vmId }) => vmId === target.id)

beforeAll(async () => {
  host = await openTestDriver({ warm: 0 })
  vm = await restore({ pids: PIDS })
  neighbour = await restore({})
})
afterAll(() => host[Symbol.asyncDispose]())

/** Runs an attack; meanwhile another microVM is asked again and again, and answers each time. */
async function besideANeighbour<Outcome>(attack: Promise<Outcome>): Promise<Outcome> {
  let over = false
  const ended = attack.catch(() => undefined).finally(() => { over = true })
  let during = 0
  do {
    expect(await sh(neighbour, 'echo well')).toMatchObject({ code: 0, stdout: 'well\n' })
    if (!over) during += 1
  } while (!over)
  await ended
  expect(during).toBeGreaterThan(0)
  return attack
}

test('a fork bomb meets the limit on processes, and ends with its exec', async () => {
  const bomb = await besideANeighbour(vm.exec({ argv: ['perl', '-e', 'while (1) { defined(fork()) or $full++ or syswrite(STDOUT, "full\\n") }'], timeoutMs: 4_000, maxOutputBytes: 1_000 }))
  expect(bomb).toMatchObject({ timedOut: true, stdout: expect.stringContaining('full\n') })
  const { stdout } = await sh(vm, 'cd /sys/fs/cgroup/supervised; cat pids.max; sed -n "s/^max //p" pids.events; pgrep -c perl')
  const [max, refused, left] = stdout.trim().split('\n').map(Number)
  expect(max).toBe(PIDS)
  expect(refused).toBeGreaterThan(0)
  expect(left).toBe(1) // the helper of the supervisor
})

test('memory that runs out ends the process that took it, says why, and stays in the guest', async () => {
  const eater = await besideANeighbour(vm.exec({ argv: ['perl', '-e', 'my @all; while (1) { push @all, "x" x 64_000_000 }'], timeoutMs: 60_000 }))
  expect(eater).toMatchObject({ code: null, signal: 'SIGKILL', timedOut: false, stderr: expect.stringContaining('ran out of memory') })
  expect((await vm.stats()).rssBytes).toBeLessThan((TEST_SIZE.memoryMb + 640) * MB)
  expect(await sh(vm, 'echo alive')).toMatchObject({ code: 0, stdout: 'alive\n', stderr: '' })
})

test('a disk that is full is full inside only, and usable again when something is removed', async () => {
  // fallocate takes the bulk without writing it; the rest is written up to the end.
  const full = await besideANeighbour(sh(vm, 'fallocate -l 900M /work/bulk && dd if=/dev/zero of=/work/more bs=1M count=400; echo "code $?"', { timeoutMs: 60_000 }))
  expect(full).toMatchObject({ stdout: 'code 1\n', stderr: expect.stringContaining('No space left on device') })
  expect((await vm.stats()).scratchBytes).toBeLessThanOrEqual(TEST_SIZE.scratchMb * MB)
  expect(await sh(vm, 'rm /work/bulk /work/more && echo fits > /work/small && cat /work/small')).toMatchObject({ code: 0, stdout: 'fits\n' })
})

test('an endless flood of output is cut at the cap and does not grow the runner', async () => {
  const before = process.memoryUsage().rss
  const flood = await besideANeighbour(sh(vm, 'yes out & yes err >&2', { timeoutMs: 4_000, maxOutputBytes: MB }))
  expect(flood).toMatchObject({ timedOut: true, truncated: true })
  expect(flood.stdout.length + flood.stderr.length).toBeLessThanOrEqual(MB)
  expect(process.memoryUsage().rss - before).toBeLessThan(100 * MB)
})

test('the wall clock ends a VM in the middle of its work, and says so', async () => {
  const limited = await restore({ wallMs: 4_000 })
  const process = recordOf(limited)?.process ?? null
  const working = sh(limited, 'while :; do :; done')
  await expect(besideANeighbour(working)).rejects.toMatchObject({ code: 'vm_ended', details: { reason: 'wall_clock', detail: expect.stringContaining('4000 ms') } })
  expect(process !== null && isAlive(process)).toBe(false)
})

test('a share of the CPU holds against a loop, or is refused where the host cannot hold it', async () => {
  if (!cgroups.cpu) return expect(restore({ cpuShare: 0.4 })).rejects.toMatchObject({ code: 'vm_limit_unenforceable' })
  await using limited = await restore({ cpuShare: 0.4 })
  const cancel = new AbortController()
  const begun = Promise.withResolvers<void>()
  const loop = sh(limited, 'echo begun; while :; do :; done', { signal: cancel.signal, onStdout: () => begun.resolve() })
  loop.catch(() => {}) // it is cancelled below
  await begun.promise
  const [startedAt, before] = [performance.now(), (await limited.stats()).cpuMs]
  await besideANeighbour(delay(2_000))
  const used = (await limited.stats()).cpuMs - before
  // One period of 100 ms more may be on either side.
  expect(used).toBeLessThan((performance.now() - startedAt) * 0.4 + 100)
  expect(used).toBeGreaterThan(0)
  cancel.abort(new Error('seen enough'))
})

test('a VMM that takes more than its memory limit is ended, and that is named as the reason', async ({ skip }) => {
  skip(!cgroups.memory, `no cgroup for memory here: ${cgroups.problems.memory}`)
  const limited = await restore({})
  const group = recordOf(limited)?.cgroups.find((path) => ['memory.limit_in_bytes', 'memory.max'].some((file) => existsSync(join(path, file)))) ?? ''
  const [limit, usage] = existsSync(join(group, 'memory.max')) ? ['memory.max', 'memory.current'] : ['memory.limit_in_bytes', 'memory.usage_in_bytes']
  // In fact the limit lies above all that a guest can make its VMM take; it is lowered to be reached.
  writeFileSync(join(group, limit), String(Number(readFileSync(join(group, usage), 'utf8')) + 32 * MB))
  await expect(sh(limited, 'perl -e \'my @all; push @all, "x" x 16_000_000 for 1..20; sleep 100\'')).rejects.toMatchObject({ code: 'vm_ended' })
  expect(await limited.ended).toMatchObject({ reason: 'crashed', detail: expect.stringContaining('exceeded its memory limit') })
})

test('a flood of egress is cut at its limit, which also holds over many connections, and the microVM goes on without a way out', async () => {
  await using limited = await restore({ egressBytes: 2 * MB })
  let received = 0
  const server = createServer((request, response) => { request.on('data', (chunk: Buffer) => { received += chunk.length }).on('end', () => response.end('ok')) })
  limited.onForward((stream) => void server.emit('connection', stream))
  const flood = 'for n in 1 2 3 4 5 6 7 8; do head -c 4000000 /dev/zero | curl -sS -m 60 -T - http://upload.example/ & done; wait; curl -sS -m 20 http://upload.example/ || echo refused'
  expect(await besideANeighbour(sh(limited, flood))).toMatchObject({ stdout: expect.stringMatching(/refused\n$/) })
  server.closeAllConnections()
  // What each connection may have on its way is its window.
  expect(received).toBeLessThan(2 * MB + 8 * 256 * 1024)
  expect(await sh(limited, 'echo alive')).toMatchObject({ stdout: 'alive\n' })
})

test.each([
  ['garbage', 'put(join("", map { chr(int(rand(256))) } 1..4096)); sleep 1000', 'protocol_violation', /./],
  ['a frame of 4 GiB', 'put(pack("CNN", 2, 2, 0xffffffff)); sleep 1000', 'protocol_violation', /a frame of 4294967295 bytes/],
  ['bytes beyond its credit', 'put(frame(1, 1_000_001, q({"kind":"forward","listener":"proxy"})) . join("", map { frame(2, 1_000_001, "x" x 3_000) } 1..9)) for 1; put(frame(2, 1_000_001, "x" x 16_000)) for 1..20; sleep 1000', 'protocol_violation', /16000 bytes with a credit of \d+/],
])('a guest that writes %s to the channel loses its microVM, which says why, and nobody else notices', async (_what, attack, reason, detail) => {
  const hostile = await restore({})
  hostile.onForward((stream) => void stream.pause())
  await expect(besideANeighbour(writeToChannel(hostile, attack))).rejects.toMatchObject({ code: 'vm_ended', details: { reason, detail: expect.stringMatching(detail) } })
})

test('a flood of frames takes a bounded part of the runner, and the microVM is of use when it is over', async () => {
  await using hostile = await restore({})
  const before = { cpu: process.cpuUsage(), rss: process.memoryUsage().rss, at: performance.now() }
  // Ends of a stream that ended long ago: nothing answers them, so nothing but the reading is paid for.
  const flood = await besideANeighbour(writeToChannel(hostile, 'my $many = frame(3, 2, "") x 3_000; put($many) while 1', { timeoutMs: 8_000 }))
  expect(flood.timedOut).toBe(true)
  const { user, system } = process.cpuUsage(before.cpu)
  expect((user + system) / 1_000).toBeLessThan((performance.now() - before.at) / 2)
  expect(process.memoryUsage().rss - before.rss).toBeLessThan(100 * MB)
  expect(await sh(hostile, 'echo alive')).toMatchObject({ code: 0, stdout: 'alive\n' })
})
