import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ExecOptions, Vm, VmEnd, VmLimits } from '../drivers/driver.ts'
import { probeCgroups } from '../host/cgroup.ts'
import { isAlive } from '../host/processes.ts'
import { openVmJournal } from './journal.ts'
import { writeToChannel } from './testing-channel.ts'
import { openTestDriver } from './testing.ts'

let host: Awaited<ReturnType<typeof openTestDriver>>
let count = 0
const restore = (limits: VmLimits = {}) => host.driver.restore(host.template, { id: `VM-HEALTH${String(++count).padStart(2, '0')}`, limits, correlationId: 'test' })
const sh = (vm: Vm, script: string, options: Partial<ExecOptions> = {}) => vm.exec({ argv: ['/bin/sh', '-c', script], ...options })
const processOf = (vm: Vm) => openVmJournal(join(host.stateDir, 'vms')).records().find(({ vmId }) => vmId === vm.id)?.process ?? null
/** What an agent that does this hears of its microVM. */
const ended = (exec: Promise<unknown>): Promise<VmEnd> => exec.then(() => { throw new Error('it came to an end') }, (error: { details: VmEnd }) => error.details)

beforeAll(async () => { host = await openTestDriver({ warm: 0 }) })
afterAll(() => host[Symbol.asyncDispose]())

test('a microVM that is stuck is found and ended, however it came to stand still; one that is slow or paused is not', async () => {
  const [stopped, silent, dripping, orphaned, panicked, paused] = await Promise.all([restore(), restore(), restore(), restore(), restore(), restore()])
  const slow = await restore(probeCgroups().cpu ? { cpuShare: 0.1 } : {})
  const processes = [stopped, silent, dripping, orphaned, panicked].map(processOf)
  const burning = new AbortController()
  const loop = sh(slow, 'while :; do :; done', { signal: burning.signal })
  loop.catch(() => {}) // it is cancelled below
  await paused.pause()
  const hears = [
    ended(sh(stopped, 'echo up; sleep 1000', { onStdout: () => { process.kill(processOf(stopped)?.pid ?? 0, 'SIGSTOP') } })),
    ended(sh(silent, 'kill -STOP $(pgrep -f ^/usr/local/bin/node./opt/swarm/supervisor); sleep 1000')),
    // Half a frame, and then the rest of it byte by byte.
    ended(writeToChannel(dripping, 'put(pack("CNN", 2, 2, 60_000)); while (1) { put("x"); sleep 2 }')),
    ended(sh(orphaned, 'kill -KILL $(pgrep -f ^/usr/local/bin/node./opt/swarm/supervisor); sleep 1000')),
    ended(sh(panicked, 'echo c > /proc/sysrq-trigger; sleep 1000')),
  ]
  expect(await Promise.all(hears)).toMatchObject([
    { reason: 'stuck', detail: expect.stringContaining('its VMM did not answer') },
    { reason: 'stuck', detail: expect.stringContaining('its guest gave no sign of life') }, { reason: 'stuck', detail: expect.stringContaining('its guest gave no sign of life') },
    // Without its supervisor, or after a panic, a guest reboots, and a microVM that reboots is over.
    { reason: 'crashed' }, { reason: 'crashed' },
  ])
  expect(processes.filter((each) => each === null || isAlive(each))).toEqual([])
  expect(host.driver.live().toSorted()).toEqual([paused.id, slow.id].toSorted())
  burning.abort(new Error('seen enough'))
  await paused.resume()
  for (const vm of [slow, paused]) {
    expect(await sh(vm, 'echo well')).toMatchObject({ code: 0, stdout: 'well\n' })
    await vm[Symbol.asyncDispose]()
  }
  // Whoever lost one goes on in another.
  await using next = await restore()
  expect(await sh(next, 'echo on')).toMatchObject({ stdout: 'on\n' })
})
