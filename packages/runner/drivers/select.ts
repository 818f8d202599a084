import { DomainError } from '@swarm/core/errors.ts'
import { missingPackages, QEMU_TOOLS } from '../images/tools.ts'
import type { VmDriver } from './driver.ts'
import { createProcessDriver } from './process/process.ts'
import { createQemuDriver, type QemuDriverOptions } from './qemu/qemu.ts'

export interface DriverConfig extends QemuDriverOptions {
  /** `auto` takes what this machine can do, and never the process driver: that isolates nothing and must be asked for. */
  driver: 'auto' | 'qemu' | 'process'
}

export interface DriverOffer { name: VmDriver['name']; usable: boolean; detail: string }

/** What this machine offers, without starting anything; for doctor. */
export function offeredDrivers(): DriverOffer[] {
  const missing = missingPackages(QEMU_TOOLS)
  const linux = process.platform === 'linux' && process.arch === 'x64'
  return [
    { name: 'qemu', usable: linux && missing.length === 0, detail: !linux ? `needs Linux on x86_64; this is ${process.platform}/${process.arch}` : missing.length > 0 ? `apt-get install ${missing.join(' ')}` : 'QEMU is installed; KVM is probed by booting a kernel' },
    { name: 'process', usable: true, detail: 'runs agents on this host without any isolation; for development of Swarm only' },
  ]
}

/** @throws DomainError driver_unavailable, tools_missing */
export async function selectDriver(config: DriverConfig): Promise<VmDriver> {
  if (config.driver === 'process') return createProcessDriver({ stateDir: config.stateDir, ...(config.onNotice === undefined ? {} : { onNotice: config.onNotice }) })
  const qemu = offeredDrivers().find(({ name }) => name === 'qemu')
  if (qemu !== undefined && !qemu.usable && !qemu.detail.startsWith('apt-get')) throw new DomainError('driver_unavailable', { driver: 'qemu', problem: qemu.detail })
  return createQemuDriver(config)
}
