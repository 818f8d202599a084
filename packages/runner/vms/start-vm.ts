import { randomBytes } from 'node:crypto'
import { DomainError } from '@swarm/core/errors.ts'
import type { RestoreOptions, Template, Vm, VmDriver } from '../drivers/driver.ts'
import { createCgroups, type CgroupSupport } from '../host/cgroup.ts'
import type { GuestConnection } from './guest-connection.ts'
import type { VmJournal } from './journal.ts'
import { runningVm } from './running-vm.ts'
import type { VmmSlot } from './slot.ts'
import { copyScratchDisk } from './template-boot.ts'
import { withTimeout } from './time-limit.ts'

/** A hundred at once on two cores without KVM take 80 s to answer; nobody looks at the health of one before. */
const PREPARE_TIMEOUT_MS = 300_000

export interface VmHost {
  driver: VmDriver['name']
  journal: VmJournal
  cgroups: CgroupSupport
  /** Memory that the VMM itself may take beside the guest's, bytes. */
  vmmOverheadBytes: number
  /** Told what could not be cleaned up. */
  onTrouble(notice: string): void
}

/** What the whole process of a VMM may take, bytes. */
export const vmmMemoryBytes = (template: Pick<Template, 'size'>, host: Pick<VmHost, 'vmmOverheadBytes'>) => template.size.memoryMb * 1024 * 1024 + host.vmmOverheadBytes

/**
 * Makes a waiting slot the microVM of a request: limits on the host, then the guest runs and gets its own clock, randomness, ids
 * and disk. A slot that cannot become one is released.
 * @param startedAt `performance.now()` at the call of restore or fork
 * @returns its guest's channel too: what a driver does with a running one, it says by that
 * @throws DomainError vm_start_failed, vm_limit_unenforceable
 */
export async function startVm(host: VmHost, slot: VmmSlot, template: Template, request: RestoreOptions, startedAt: number): Promise<{ vm: Vm; guest: GuestConnection }> {
  const { limits, id } = request
  const groups = createCgroups(host.cgroups, slot.name, { ...(limits.cpuShare === undefined ? {} : { cpuShare: limits.cpuShare }), memoryBytes: vmmMemoryBytes(template, host) })
  try {
    if (limits.cpuShare !== undefined && !host.cgroups.cpu) throw new DomainError('vm_limit_unenforceable', { limit: 'cpu', problem: host.cgroups.problems.cpu })
    host.journal.update(slot.name, { vmId: id, cgroups: groups.paths })
    groups.admit(slot.pid)
    if (request.scratch !== undefined) await copyScratchDisk(request.scratch, slot.scratchDisk)
    let vmmMs = 0
    const woken = (async () => {
      await slot.wake()
      vmmMs = performance.now() - startedAt
      const guest = await slot.connect(id)
      const done = await guest.prepare({
        entropy: randomBytes(32).toString('base64'), machineId: randomBytes(16).toString('hex'), hostname: hostnameOf(id), mountScratch: slot.mounted !== true,
        ...(limits.pids === undefined ? {} : { pids: limits.pids }), ...(request.authority === undefined ? {} : { authority: request.authority }),
      })
      const missing = (['clock', 'reseed', 'machine_id', 'hostname', ...(slot.mounted === true ? [] : ['scratch' as const]), ...(request.authority === undefined ? [] : ['authority' as const])] as const).filter((step) => !done.done.includes(step))
      if (missing.length > 0) throw new DomainError('vm_start_failed', { problem: `it did not acknowledge ${missing.join(', ')}` })
      await guest.setClock()
      return guest
    })()
    const died = slot.exited.then((detail): never => { throw new DomainError('vm_start_failed', { problem: detail }) })
    const guest = await withTimeout(Promise.race([woken, died]), PREPARE_TIMEOUT_MS, () => `it did not answer within ${PREPARE_TIMEOUT_MS} ms`)
    return { vm: runningVm(host, slot, guest, template, request, groups.paths, { vmmMs, restoreMs: performance.now() - startedAt }), guest }
  } catch (error) {
    await slot.release(groups.paths).catch((trouble: unknown) => { host.onTrouble(`what is left of ${id} could not be removed: ${String(trouble)}`) })
    throw error
  }
}

function hostnameOf(id: string): string {
  return id.toLowerCase().replace(/[^a-z0-9-]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 63) || 'vm'
}
