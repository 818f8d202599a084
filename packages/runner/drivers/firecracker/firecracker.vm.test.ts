import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { probeCgroups } from '../../host/cgroup.ts'
import { ensureImage } from '../../images/images.ts'
import { openVmJournal } from '../../vms/journal.ts'
import { vmmMemoryBytes } from '../../vms/start-vm.ts'
import { jailsFolder } from '../../vms/templates.ts'
import { TEST_SIZE, testCache } from '../../vms/testing.ts'
import { behavesLikeADriver, type DriverUnderTest } from '../testing-behaviour.ts'
import { readBinaries } from './binaries.ts'
import { createFirecrackerDriver } from './firecracker.ts'
import { startSlot } from './slot.ts'
import { whyNotTested } from './testing.ts'

// The real programs, wherever both are on PATH and KVM boots a kernel. Elsewhere it says that it did not run, and why.
const UIDS = { first: 1_900_000_000, count: 1_000 }
const reason = await whyNotTested()
if (reason !== null) process.stderr.write(`\n  ${'!'.repeat(100)}\n  THE SUITE AGAINST THE REAL FIRECRACKER DID NOT RUN. ${reason}\n  ${'!'.repeat(100)}\n\n`)

async function openFirecracker(options: { warm?: number } = {}): Promise<DriverUnderTest> {
  const cache = testCache()
  mkdirSync(cache, { recursive: true })
  const stateDir = mkdtempSync(join(tmpdir(), 'swarm-vm-test-'))
  const driver = await createFirecrackerDriver({ cache, stateDir, warm: options.warm ?? 1, uids: UIDS })
  const template = await driver.buildTemplate(await ensureImage({ cache }), TEST_SIZE)
  return {
    driver, template, stateDir,
    startBareSlot: async () => startSlot({ binaries: await readBinaries({}), journal: openVmJournal(join(stateDir, 'bare')), cgroups: probeCgroups(), jails: jailsFolder(cache), uids: UIDS }, template, { memoryBytes: vmmMemoryBytes(template, { vmmOverheadBytes: 256 * 1024 * 1024 }), diskMbPerS: 0 }),
    async [Symbol.asyncDispose]() {
      await driver[Symbol.asyncDispose]()
      rmSync(stateDir, { recursive: true, force: true })
    },
  }
}

describe('the real Firecracker', () => {
  if (reason !== null) return test('behaves like every driver that isolates', ({ skip }) => { skip(true, reason) })
  // It has no power button: it ends when the guest resets itself by the keyboard's controller (reboot=k).
  behavesLikeADriver(openFirecracker, { killed: 'Firecracker has ended', sysrq: 'b' })

  test('tells the memory of its guest and the use of its disks', async () => {
    await using host = await openFirecracker({ warm: 0 })
    await using vm = await host.driver.restore(host.template, { id: 'VM-STATS0001', limits: {}, correlationId: 'test' })
    await vm.exec({ argv: ['/bin/sh', '-c', 'dd if=/dev/zero of=/work/file bs=1M count=8 conv=fsync'] })
    await expect.poll(async () => (await vm.stats()).guestMemory?.totalBytes ?? 0, { timeout: 20_000 }).toBeGreaterThan(200_000_000)
    expect((await vm.stats()).disk?.writtenBytes).toBeGreaterThanOrEqual(8_000_000)
  })
})
