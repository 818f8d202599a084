import type { Config } from '@swarm/contract/config.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { readMachine } from '../host/machine.ts'
import { ensureImage, listImages } from '../images/images.ts'
import { findTool, missingPackages, QEMU_TOOLS } from '../images/tools.ts'
import type { VmDriver } from './driver.ts'
import { firecrackerProblems, type FirecrackerPaths } from './firecracker/binaries.ts'
import { createFirecrackerDriver, type FirecrackerDriverOptions } from './firecracker/firecracker.ts'
import { createProcessDriver } from './process/process.ts'
import { probeKvm } from './qemu/kvm.ts'
import { createQemuDriver, type QemuDriverOptions } from './qemu/qemu.ts'

export interface DriverConfig extends QemuDriverOptions {
  /**
   * `auto` takes what this machine can do: Firecracker where it works, else QEMU, and never the process driver: that isolates nothing
   * and must be asked for.
   */
  driver: 'auto' | 'firecracker' | 'qemu' | 'process'
  firecracker?: Pick<FirecrackerDriverOptions, 'paths' | 'diskMbPerS'>
}

export interface DriverOffer { name: VmDriver['name']; usable: boolean; detail: string }

/** What the settings say to Firecracker's driver. */
export function firecrackerSettings({ vm }: Config): NonNullable<DriverConfig['firecracker']> {
  return { paths: { firecracker: vm.firecracker, jailer: vm.jailer }, diskMbPerS: vm.diskMbPerS }
}

/** What this machine offers, without starting anything; for doctor. */
export function offeredDrivers(paths: FirecrackerPaths = {}): DriverOffer[] {
  const missing = missingPackages(QEMU_TOOLS)
  const linux = process.platform === 'linux' && process.arch === 'x64'
  const problems = firecrackerProblems(paths)
  return [
    { name: 'firecracker', usable: problems.length === 0, detail: problems.length === 0 ? 'firecracker and jailer are there; KVM is probed by booting a kernel' : problems.join('; ') },
    { name: 'qemu', usable: linux && missing.length === 0, detail: !linux ? `needs Linux on x86_64; this is ${process.platform}/${process.arch}` : missing.length > 0 ? `apt-get install ${missing.join(' ')}` : 'QEMU is installed; KVM is probed by booting a kernel' },
    { name: 'process', usable: true, detail: 'runs agents on this host without any isolation; for development of Swarm only' },
  ]
}

/** @throws DomainError driver_unavailable, tools_missing, and what building an image throws */
export async function selectDriver(config: DriverConfig): Promise<VmDriver> {
  if (config.driver === 'process') return createProcessDriver({ stateDir: config.stateDir, ...(config.onNotice === undefined ? {} : { onNotice: config.onNotice }) })
  if (config.driver !== 'qemu') {
    const problems = await whyNotFirecracker(config)
    if (problems.length === 0) return createFirecrackerDriver({ ...config, ...config.firecracker })
    if (config.driver === 'firecracker') throw new DomainError('driver_unavailable', { driver: 'firecracker', problem: problems.join('; ') })
    if (findTool('firecracker') !== null || config.firecracker?.paths?.firecracker !== undefined) config.onNotice?.(`Firecracker is not used: ${problems.join('; ')}`)
  }
  const qemu = offeredDrivers().find(({ name }) => name === 'qemu')
  if (qemu !== undefined && !qemu.usable && !qemu.detail.startsWith('apt-get')) throw new DomainError('driver_unavailable', { driver: 'qemu', problem: qemu.detail })
  return createQemuDriver(config)
}

/** KVM is believed when a kernel was seen to boot on it; without QEMU, which is what boots one, Firecracker's own template shows it. */
async function whyNotFirecracker({ cache, firecracker }: DriverConfig): Promise<string[]> {
  const problems = firecrackerProblems(firecracker?.paths ?? {})
  const qemu = findTool('qemu-system-x86_64')
  if (problems.length > 0 || qemu === null) return problems
  const kvm = await probeKvm(cache, await readMachine(qemu), listImages(cache)[0] ?? await ensureImage({ cache }), qemu)
  return kvm.works ? [] : [`KVM does not boot a kernel here (${kvm.detail})`]
}
