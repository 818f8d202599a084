import { rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { removeSharedCgroups } from '../../host/cgroup.ts'
import { lockFile } from '../../host/lock.ts'
import { readMachine } from '../../host/machine.ts'
import { DEFAULT_UIDS, type UidRange } from '../../host/users.ts'
import type { BuildProgress, Image } from '../../images/image.ts'
import { findTool, QEMU_TOOLS, requireTools } from '../../images/tools.ts'
import { openHost } from '../../vms/open-host.ts'
import { createSlotPool, type SlotPool } from '../../vms/pool.ts'
import type { ReclaimedOrphan } from '../../vms/reclaim.ts'
import { startVm } from '../../vms/start-vm.ts'
import { noteExtents } from '../../vms/template-boot.ts'
import { buildingFolder, finishTemplate, markTemplateUsed, readTemplate, removeTemplates, removeUnused, requireTemplateSpace, templateKey, volatileFolder } from '../../vms/templates.ts'
import type { RestoreOptions, Template, Vm, VmDriver, VmSize } from '../driver.ts'
import { TRANSLATION_CACHE_MB, type Accelerator } from './arguments.ts'
import { bootTemplate } from './boot.ts'
import { forkQemu, type RunningQemu } from './fork.ts'
import { probeKvm } from './kvm.ts'
import { createSealedMemories } from './sealed-memory.ts'
import { startSlot, type Slot, type SlotPlaces } from './slot.ts'

export interface QemuDriverOptions {
  /** SWARM_CACHE: images, probes; its hash names the folder of templates in memory. */
  cache: string
  /** Folder of the runner's own state: journal of microVMs and their scratch disks. */
  stateDir: string
  /** Processes that wait for restores at most; how many do follows the demand (vms/pool.ts). */
  warm?: number
  /** Whether the host has memory for another one that waits. */
  mayWarm?: () => boolean
  /** Users for QEMU processes, one each, where this process is root. */
  uids?: UidRange
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
/** What of that cannot be taken back from it (page cache can): what a host must have for it. */
const TAKEN_OVERHEAD_BYTES = (TRANSLATION_CACHE_MB + 64) * 1024 * 1024

/**
 * microVMs by QEMU: with KVM where a probe has booted a kernel on it, else under software emulation. Reclaims what dead
 * runners of this state folder have left.
 * @throws DomainError tools_missing
 */
export async function createQemuDriver(options: QemuDriverOptions): Promise<QemuDriver> {
  const { cache, stateDir, warm = 2, mayWarm, onNotice = () => {} } = options
  requireTools(QEMU_TOOLS, 'The QEMU driver')
  const qemu = findTool('qemu-system-x86_64') as string
  const machine = await readMachine(qemu)
  const { journal, cgroups, reclaimed, unenforced } = await openHost(stateDir, onNotice)
  const users = process.getuid?.() === 0 ? options.uids ?? DEFAULT_UIDS : null
  if (users === null) onNotice('the runner is not root, so each QEMU runs as its user: a guest that took one over would have the files of that user')

  const marks = new Map<string, Disposable>()
  const live = new Map<string, RunningQemu>()
  const accelerators = new Map<string, Accelerator>()
  const memories = createSealedMemories()
  let disposed = false

  const places = (template: Template): SlotPlaces => ({
    journal, disks: join(stateDir, 'disks'), accelerator: accelerators.get(template.key) ?? 'tcg', users,
    memory: memories.of,
  })

  const pool: SlotPool<Slot> = createSlotPool({
    start: (template) => startSlot(template, places(template)),
    end: (slot) => slot.release([]),
    gone: (slot) => slot.exited,
    most: warm, startsAtOnce: Math.max(1, Math.floor(availableParallelism() / 2)), ...(mayWarm === undefined ? {} : { mayGrow: mayWarm }),
    async onIdleTemplate(template): Promise<void> {
      if ([...live.values()].some(({ vm }) => vm.templateKey === template.key)) return pool.use(template)
      marks.get(template.key)?.[Symbol.dispose]()
      marks.delete(template.key)
      if (!await removeUnused(cache, template)) return
      memories.forget(template.directory)
      onNotice(`template ${template.key.slice(0, 12)} (${template.size.memoryMb} MB) was not used for half an hour, and is not kept in memory`)
    },
    onNotice,
  })

  async function restore(template: Template, request: RestoreOptions): Promise<Vm> {
    if (disposed) throw new DomainError('driver_unavailable', { driver: 'qemu', problem: 'it is shut down' })
    const startedAt = performance.now()
    const slot = await pool.take(template)
    try {
      return await start(slot, template, request, startedAt)
    } finally {
      pool.replenish(template)
    }
  }

  async function start(slot: Slot, template: Template, request: RestoreOptions, startedAt: number): Promise<Vm> {
    const { vm, guest } = await startVm({ driver: 'qemu', journal, cgroups, vmmOverheadBytes: VMM_OVERHEAD_BYTES, onTrouble: onNotice }, slot, template, request, startedAt)
    live.set(vm.id, { vm, slot, guest, template })
    void vm.ended.then(() => {
      live.delete(vm.id)
      pool.use(template) // a check follows most attempts
    })
    return vm
  }

  return {
    name: 'qemu', isolates: true, savesScratch: true, unenforced, reclaimed, restore, overheadBytes: TAKEN_OVERHEAD_BYTES,
    async fork(vm, children) {
      const parent = live.get(vm.id)
      if (parent === undefined) throw new DomainError('vm_ended', { id: vm.id, ...(await vm.ended) })
      const { template } = parent
      const startedAt = performance.now()
      return forkQemu(parent, children, {
        load: (saved) => startSlot(template, places(template), saved),
        start: (slot, request) => start(slot, template, request, startedAt),
      })
    },
    live: () => [...live.keys()],
    prewarm: pool.prewarm,
    letGo: pool.trim,
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
      pool.use(template)
      // The copy that clones map is there before anybody counts what is free.
      using _memory = await memories.of(template)
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
          await noteExtents(folder)
          const built = finishTemplate(cache, folder, key, image, size, { vmmVersion: machine.qemuVersion, cpuModel: machine.cpuModel })
          onProgress({ phase: 'ready', detail: `template booted in ${Math.round(performance.now() - startedAt)} ms` })
          return built
        } catch (error) {
          rmSync(folder, { recursive: true, force: true })
          throw error
        } finally {
          journal.remove(name)
        }
      }
    },
    async [Symbol.asyncDispose]() {
      disposed = true
      await Promise.all([...[...live.values()].map(({ vm }) => vm[Symbol.asyncDispose]()), pool[Symbol.asyncDispose]()])
      await memories[Symbol.asyncDispose]()
      for (const mark of marks.values()) mark[Symbol.dispose]()
      removeSharedCgroups(cgroups)
    },
  }
}
