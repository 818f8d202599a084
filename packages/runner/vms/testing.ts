import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Template, VmSize } from '../drivers/driver.ts'
import { probeKvm } from '../drivers/qemu/kvm.ts'
import { createQemuDriver, type QemuDriver } from '../drivers/qemu/qemu.ts'
import { createSealedMemories } from '../drivers/qemu/sealed-memory.ts'
import { startSlot } from '../drivers/qemu/slot.ts'
import { readMachine } from '../host/machine.ts'
import { ensureImage } from '../images/images.ts'
import { findTool } from '../images/tools.ts'
import { openVmJournal } from './journal.ts'
import type { VmmSlot } from './slot.ts'

/** The one size that tests and benchmarks use, so that they share a template. */
export const TEST_SIZE: VmSize = { vcpus: 1, memoryMb: 512, scratchMb: 1024 }

export const testCache = () => process.env['SWARM_CACHE'] ?? join(homedir(), '.cache', 'swarm')

/** A QEMU driver with a state folder of its own, on the shared image and template of the cache. */
export async function openTestDriver(options: { warm?: number } = {}): Promise<AsyncDisposable & { driver: QemuDriver; template: Template; stateDir: string; startBareSlot(): Promise<VmmSlot> }> {
  const cache = testCache()
  mkdirSync(cache, { recursive: true })
  const image = await ensureImage({ cache })
  const stateDir = mkdtempSync(join(tmpdir(), 'swarm-vm-test-'))
  const driver = await createQemuDriver({ cache, stateDir, warm: options.warm ?? 1 })
  const template = await driver.buildTemplate(image, TEST_SIZE)
  // The driver has asked the same: the answer is in the cache.
  const qemu = findTool('qemu-system-x86_64') ?? ''
  const accelerator = (await probeKvm(cache, await readMachine(qemu), image, qemu)).works ? 'kvm' : 'tcg'
  const memories = createSealedMemories()
  return {
    driver, template, stateDir,
    startBareSlot: () => startSlot(template, {
      journal: openVmJournal(join(stateDir, 'bare')), disks: join(stateDir, 'bare-disks'), accelerator, users: null, memory: memories.of,
    }),
    async [Symbol.asyncDispose]() {
      await driver[Symbol.asyncDispose]()
      await memories[Symbol.asyncDispose]()
      rmSync(stateDir, { recursive: true, force: true })
    },
  }
}
