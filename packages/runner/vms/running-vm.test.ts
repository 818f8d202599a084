import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import type { Template } from '../drivers/driver.ts'
import { connectGuest } from './guest-connection.ts'
import { runningVm } from './running-vm.ts'
import type { VmmSlot } from './slot.ts'

const TEMPLATE: Template = { key: 'k', image: null, size: { vcpus: 1, memoryMb: 64, scratchMb: 64 }, directory: '/nowhere', builtAtMs: 0 }

/** A VMM that ends when it is told to, and of which something cannot be removed. */
function brokenSlot(): { slot: VmmSlot; crash(): void } {
  const exited = Promise.withResolvers<string>()
  return {
    crash: () => { exited.resolve('it has ended') },
    slot: {
      name: 'swarm-slot-000000000000', pid: process.pid, scratchDisk: '/nowhere/scratch', exited: exited.promise,
      wake: async () => undefined, connect: async () => connectGuest('VM-1', new PassThrough()), state: async () => 'running', pause: async () => undefined, resume: async () => undefined,
      release: async () => { throw new Error('EBUSY: the cgroup is busy') },
    },
  }
}

test.each([['crashes', 'crashed'], ['is ended', 'killed']])('a microVM that %s is over though something of it cannot be removed, which is said, and gives no statistics meanwhile', async (how, reason) => {
  const notices: string[] = []
  const { slot, crash } = brokenSlot()
  const vm = runningVm({ driver: 'qemu', onTrouble: (notice) => { notices.push(notice) } }, slot, connectGuest('VM-1', new PassThrough()), TEMPLATE, { id: 'VM-1', limits: {}, correlationId: 'test' }, [], { vmmMs: 1, restoreMs: 1 })
  if (how === 'crashes') crash()
  else void vm.kill('not needed')
  await expect(how === 'crashes' ? vm.ended.then(() => vm.stats()) : vm.stats()).rejects.toMatchObject({ code: 'vm_ended' })
  expect(await vm.ended).toMatchObject({ reason })
  expect(notices).toEqual(['what is left of VM-1 could not be removed: Error: EBUSY: the cgroup is busy'])
})
