import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { processesWithArgument } from '../../host/processes.ts'
import { openVmJournal } from '../../vms/journal.ts'
import { openTestDriver } from '../../vms/testing.ts'
import type { Vm } from '../driver.ts'

let host: Awaited<ReturnType<typeof openTestDriver>>
beforeAll(async () => { host = await openTestDriver({ warm: 0 }) })
afterAll(() => host[Symbol.asyncDispose]())

const sh = async (vm: Vm, script: string) => (await vm.exec({ argv: ['/bin/sh', '-c', script] })).stdout
const count = async (vm: Vm) => Number(await sh(vm, 'cat /work/count'))
const child = (id: string) => ({ id, limits: { pids: 500 }, correlationId: 'test' })

test('forks go on from the same point with what runs in memory, each with a disk, ids, randomness and the time of its own, and the parent goes on', async () => {
  const fork = host.driver.fork
  if (!fork) throw new Error('the QEMU driver forks')
  await using parent = await host.driver.restore(host.template, { id: 'VM-PARENT01', limits: {}, correlationId: 'test' })
  const forwards = vi.fn((stream: { destroy(): unknown }) => { stream.destroy() })
  parent.onForward(forwards)
  // The number is nowhere but in the memory of this shell, which is started anew by nobody.
  let ticks = 0
  const cancel = new AbortController()
  const running = parent.exec({ argv: ['/bin/sh', '-c', 'n=0; while :; do n=$((n+1)); echo $n > /work/next; mv /work/next /work/count; echo $n; sleep 0.1; done'], signal: cancel.signal, onStdout: () => { ticks += 1 } })
  running.catch(() => {}) // it is cancelled below
  await vi.waitFor(async () => { expect(await count(parent)).toBeGreaterThan(5) }, { timeout: 30_000 })
  await sh(parent, 'echo before > /work/file')

  const children = await fork(parent, [child('VM-CHILD001'), child('VM-CHILD002')])
  const all = [parent, ...children]
  const atFork = ticks
  for (const vm of all) {
    const first = await count(vm)
    expect(first).toBeGreaterThan(5)
    await vi.waitFor(async () => { expect(await count(vm)).toBeGreaterThan(first) }, { timeout: 30_000 })
  }
  await vi.waitFor(() => { expect(ticks).toBeGreaterThan(atFork) }, { timeout: 30_000 })

  const drawn = await Promise.all(all.map(async (vm) => (await sh(vm, 'hostname; cat /etc/machine-id; head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid')).split('\n')))
  expect(drawn.map(([hostname]) => hostname)).toEqual(['vm-parent01', 'vm-child001', 'vm-child002'])
  for (const at of [1, 2, 3]) expect(new Set(drawn.map((lines) => lines[at])).size).toBe(3)
  await sh(children[0]!, 'echo mine > /work/file; echo mine > /etc/mine')
  expect(await Promise.all(all.map((vm) => sh(vm, 'cat /work/file; ls /etc/mine 2>/dev/null')))).toEqual(['before\n', 'mine\n/etc/mine\n', 'before\n'])
  for (const vm of all) {
    const before = Date.now()
    const now = Number(await sh(vm, 'date +%s%3N'))
    expect(now).toBeGreaterThan(before - 50)
    expect(now).toBeLessThan(Date.now() + 50)
  }
  expect(await sh(children[1]!, 'curl -s -m 5 http://host.example/ || echo "no way out"')).toBe('no way out\n')
  expect(forwards).not.toHaveBeenCalled()

  const records = openVmJournal(join(host.stateDir, 'vms')).records().filter(({ vmId }) => vmId?.startsWith('VM-CHILD'))
  expect(records).toHaveLength(2)
  for (const vm of children) await vm[Symbol.asyncDispose]()
  for (const { slot, folders, cgroups } of records) {
    expect(processesWithArgument(slot)).toEqual([])
    expect([...folders, ...cgroups].filter((path) => existsSync(path))).toEqual([])
  }
  expect(readdirSync(join(host.stateDir, 'disks')).flatMap((slot) => readdirSync(join(host.stateDir, 'disks', slot)))).toEqual(['empty', 'scratch'])
  // Who has taken over its QEMU goes nowhere by the way that its state took.
  const [slot] = readdirSync(join(host.stateDir, 'disks'))
  const stood = join(host.stateDir, 'disks', String(slot), 'empty')
  expect([readdirSync(stood), statSync(stood).mode & 0o777]).toEqual([[], 0o700])
  const last = await count(parent)
  await vi.waitFor(async () => { expect(await count(parent)).toBeGreaterThan(last) }, { timeout: 30_000 })
  cancel.abort(new Error('seen enough'))
})

test('a microVM whose fork fails in the middle goes on, and can be forked after', async () => {
  await using vm = await host.driver.restore(host.template, { id: 'VM-PARENT03', limits: {}, correlationId: 'test' })
  const slot = openVmJournal(join(host.stateDir, 'vms')).records().find(({ vmId }) => vmId === vm.id)?.slot ?? ''
  // Where its memory is to be written to is a folder.
  mkdirSync(join(host.stateDir, 'disks', slot, 'fork-state'))
  await expect(host.driver.fork?.(vm, [child('VM-CHILD004')])).rejects.toThrow(/EISDIR|could not be saved/)
  expect(await sh(vm, 'sleep 1; echo on')).toBe('on\n')
  const [forked] = await host.driver.fork?.(vm, [child('VM-CHILD005')]) ?? []
  expect(await Promise.all([vm, forked].map((each) => sh(each as Vm, 'echo well')))).toEqual(['well\n', 'well\n'])
  await forked?.[Symbol.asyncDispose]()
})

test('a microVM that stands still is not forked, and says so', async () => {
  await using vm = await host.driver.restore(host.template, { id: 'VM-PARENT02', limits: {}, correlationId: 'test' })
  await vm.pause()
  await expect(host.driver.fork?.(vm, [child('VM-CHILD003')])).rejects.toMatchObject({ code: 'vm_refused' })
  await vm.resume()
  expect(await sh(vm, 'echo on')).toBe('on\n')
})
