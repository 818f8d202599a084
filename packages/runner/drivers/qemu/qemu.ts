import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { createCgroups, probeCgroups, removeSharedCgroups } from '../../host/cgroup.ts'
import { lockFile } from '../../host/lock.ts'
import { readMachine } from '../../host/machine.ts'
import type { BuildProgress, Image } from '../../images/image.ts'
import { findTool, QEMU_TOOLS, requireTools } from '../../images/tools.ts'
import { connectGuest } from '../../vms/guest-connection.ts'
import { journalFolder, openVmJournal } from '../../vms/journal.ts'
import { describeOrphan, reclaimOrphans, type ReclaimedOrphan } from '../../vms/reclaim.ts'
import type { RestoreOptions, Template, Vm, VmDriver, VmSize } from '../driver.ts'
import { TRANSLATION_CACHE_MB } from './arguments.ts'
import { bootTemplate, withTimeout } from './boot.ts'
import { forkQemu, type ForkParent } from './fork.ts'
import { probeKvm } from './kvm.ts'
import { startSlot, type Slot, type SlotPlaces } from './slot.ts'
import { buildingFolder, finishTemplate, markTemplateUsed, readTemplate, removeTemplates, removeEmptySlots, requireTemplateSpace, templateKey, volatileFolder } from './templates.ts'
import { hostnameOf, qemuVm } from './vm.ts'

export interface QemuDriverOptions {
  /** SWARM_CACHE: images, probes; its hash names the folder of templates in memory. */
  cache: string
  /** Folder of the runner's own state: journal of microVMs and their scratch disks. */
  stateDir: string
  /** Processes kept waiting per template. */
  warm?: number
  /** Told of everything that somebody should know: what could not be limited, what was reclaimed. */
  onNotice?: (notice: string) => void
}

export interface QemuDriver extends VmDriver {
  /** What dead runners had left and was removed when this driver was made. */
  readonly reclaimed: readonly ReclaimedOrphan[]
  /** Returns when at least `count` processes wait for restores of this template. */
  prewarm(template: Template, count: number): Promise<void>
}

/** VMM overhead over the guest's memory, bytes: the translation cache, QEMU itself, device buffers and page cache of the scratch disk. */
const VMM_OVERHEAD_BYTES = (TRANSLATION_CACHE_MB + 384) * 1024 * 1024
const PREPARE_TIMEOUT_MS = 60_000

/**
 * microVMs by QEMU: with KVM where a probe has booted a kernel on it, else under software emulation. Reclaims what dead
 * runners of this state folder have left.
 * @throws DomainError tools_missing
 */
export async function createQemuDriver(options: QemuDriverOptions): Promise<QemuDriver> {
  const { cache, stateDir, warm = 2, onNotice = () => {} } = options
  requireTools(QEMU_TOOLS, 'The QEMU driver')
  const qemu = findTool('qemu-system-x86_64') as string
  const [machine, cgroups] = [await readMachine(qemu), probeCgroups()]
  const journal = openVmJournal(journalFolder(stateDir))
  const reclaimed = await reclaimOrphans(journal, (error) => { onNotice(`what a dead runner left could not be removed: ${String(error)}`) })
  for (const orphan of reclaimed) onNotice(describeOrphan(orphan))
  const unenforced = (['cpu', 'memory'] as const).flatMap((limit) => (cgroups[limit] ? [] : [`${limit}: ${cgroups.problems[limit] ?? 'unknown'}`]))
  for (const limit of unenforced) onNotice(`this host cannot limit ${limit}`)

  const marks = new Map<string, Disposable>()
  const pools = new Map<string, Promise<Slot | null>[]>()
  const live = new Set<Vm>()
  const parts = new Map<string, ForkParent>()
  const accelerators = new Map<string, 'tcg' | 'kvm'>()
  let disposed = false

  const places = (template: Template): SlotPlaces => ({ journal, volatile: volatileFolder(cache), disks: join(stateDir, 'disks'), accelerator: accelerators.get(template.key) ?? 'tcg' })

  function refill(template: Template, count = warm): void {
    const pool = pools.get(template.key) ?? []
    pools.set(template.key, pool)
    while (!disposed && pool.length < count) {
      // A failure here is no one's yet: the restore that would have used it tries again and reports.
      pool.push(startSlot(template, places(template)).catch((error: unknown) => {
        onNotice(`a waiting microVM could not be started: ${error instanceof Error ? error.message : String(error)}`)
        return null
      }))
    }
  }

  async function takeSlot(template: Template): Promise<Slot> {
    const waiting = pools.get(template.key)?.shift()
    const slot = waiting === undefined ? null : await waiting
    return slot ?? startSlot(template, places(template))
  }

  async function restore(template: Template, request: RestoreOptions): Promise<Vm> {
    if (disposed) throw new DomainError('driver_unavailable', { driver: 'qemu', problem: 'it is shut down' })
    const startedAt = performance.now()
    const slot = await takeSlot(template)
    const { limits, id } = request
    const groups = createCgroups(cgroups, slot.name, { ...(limits.cpuShare === undefined ? {} : { cpuShare: limits.cpuShare }), memoryBytes: template.size.memoryMb * 1024 * 1024 + VMM_OVERHEAD_BYTES })
    try {
      if (limits.cpuShare !== undefined && !cgroups.cpu) throw new DomainError('vm_limit_unenforceable', { limit: 'cpu', problem: cgroups.problems.cpu })
      journal.update(slot.name, { vmId: id, cgroups: groups.paths })
      groups.admit(slot.qemu.identity.pid)
      const guest = connectGuest(id, slot.qemu.channel)
      const prepared = (async () => {
        await slot.qemu.qmp.command('cont')
        await guest.hello()
        const done = await guest.prepare({
          entropy: randomBytes(32).toString('base64'), machineId: randomBytes(16).toString('hex'), hostname: hostnameOf(id), mountScratch: true,
          ...(limits.pids === undefined ? {} : { pids: limits.pids }),
        })
        const missing = (['clock', 'reseed', 'machine_id', 'hostname', 'scratch'] as const).filter((step) => !done.done.includes(step))
        if (missing.length > 0) throw new DomainError('vm_start_failed', { problem: `it did not acknowledge ${missing.join(', ')}` })
      })()
      const died = slot.qemu.exited.then((detail): never => { throw new DomainError('vm_start_failed', { problem: detail }) })
      await withTimeout(Promise.race([prepared, died]), PREPARE_TIMEOUT_MS, () => `it did not answer within ${PREPARE_TIMEOUT_MS} ms`)
      const vm = qemuVm(slot, guest, template, request, groups.paths, performance.now() - startedAt)
      adopt(vm, { slot, guest, template })
      refill(template)
      return vm
    } catch (error) {
      await slot.release(groups.paths)
      throw error
    }
  }

  function adopt(vm: Vm, parent: ForkParent): void {
    live.add(vm)
    parts.set(vm.id, parent)
    void vm.ended.then(() => {
      live.delete(vm)
      parts.delete(vm.id)
    })
  }

  return {
    name: 'qemu', isolates: true, unenforced, reclaimed, restore,
    async fork(vm, children) {
      const parent = parts.get(vm.id)
      if (parent === undefined) throw new DomainError('vm_ended', { id: vm.id, ...(await vm.ended) })
      const { template } = parent
      const forked = await forkQemu(vm, parent, children, {
        places: places(template),
        groupsOf: (slot, { cpuShare }) => createCgroups(cgroups, slot.name, { ...(cpuShare === undefined ? {} : { cpuShare }), memoryBytes: template.size.memoryMb * 1024 * 1024 + VMM_OVERHEAD_BYTES }),
      })
      for (const { vm: child, ...rest } of forked) adopt(child, { ...rest, template })
      return forked.map(({ vm: child }) => child)
    },
    live: () => [...live].map(({ id }) => id),
    async prewarm(template, count) {
      refill(template, count)
      await Promise.all(pools.get(template.key) ?? [])
    },
    async buildTemplate(given: Image | null, size: VmSize, onProgress: (progress: BuildProgress) => void = () => {}) {
      if (given === null) throw new TypeError('the QEMU driver boots an image')
      const image: Image = given
      onProgress({ phase: 'probe', detail: 'does KVM boot a kernel here?' })
      const kvm = await probeKvm(cache, machine, image, qemu)
      const accelerator = kvm.works ? 'kvm' : 'tcg'
      const key = templateKey(image, size, machine, accelerator)
      accelerators.set(key, accelerator)
      const known = readTemplate(cache, key, image)
      const template = known ?? await build()
      // Anew each time: the folder that the last mark was in may have been removed from under us.
      marks.set(key, markTemplateUsed(template))
      refill(template)
      return template

      async function build(): Promise<Template> {
        requireTemplateSpace(cache, size)
        await using _lock = await lockFile(join(volatileFolder(cache), 'lock'), () => onProgress({ phase: 'waiting', detail: 'another process boots a template' }))
        removeTemplates(cache, 'stale')
        const meanwhile = readTemplate(cache, key, image)
        if (meanwhile !== null) return meanwhile
        onProgress({ phase: 'template', detail: `booting ${size.memoryMb} MB with ${accelerator === 'kvm' ? 'KVM' : 'software emulation'} (KVM: ${kvm.detail})` })
        const startedAt = performance.now()
        const folder = buildingFolder(cache, key)
        const name = `swarm-slot-template-${key.slice(0, 8)}`
        // Journaled like a clone: a runner that is killed now leaves a QEMU behind.
        journal.add(name, [folder])
        try {
          await bootTemplate(folder, image, size, accelerator, name)
          const built = finishTemplate(cache, folder, key, image, size)
          onProgress({ phase: 'ready', detail: `template booted in ${Math.round(performance.now() - startedAt)} ms` })
          return built
        } finally {
          journal.remove(name)
        }
      }
    },
    async [Symbol.asyncDispose]() {
      disposed = true
      const waiting = (await Promise.all([...pools.values()].flat())).filter((slot) => slot !== null)
      await Promise.all([...[...live].map((vm) => vm[Symbol.asyncDispose]()), ...waiting.map((slot) => slot.release([]))])
      for (const mark of marks.values()) mark[Symbol.dispose]()
      removeSharedCgroups(cgroups)
      removeEmptySlots(cache)
    },
  }
}
