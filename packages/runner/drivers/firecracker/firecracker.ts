import { mkdirSync } from 'node:fs'
import { availableParallelism, release } from 'node:os'
import { join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { removeSharedCgroups } from '../../host/cgroup.ts'
import { lockFile } from '../../host/lock.ts'
import { readCpuModel } from '../../host/machine.ts'
import { DEFAULT_UIDS, type UidRange } from '../../host/users.ts'
import type { BuildProgress, Image } from '../../images/image.ts'
import { FIRECRACKER_TOOLS, requireRoot, requireTools } from '../../images/tools.ts'
import { openHost } from '../../vms/open-host.ts'
import { createSlotPool, type SlotPool } from '../../vms/pool.ts'
import type { ReclaimedOrphan } from '../../vms/reclaim.ts'
import type { VmmSlot } from '../../vms/slot.ts'
import { startVm, vmmMemoryBytes } from '../../vms/start-vm.ts'
import { noteExtents } from '../../vms/template-boot.ts'
import { buildingFolder, finishTemplate, firecrackerFolder, jailsFolder, markTemplateUsed, readTemplate, removeEmptyJails, removeTemplates, requireTemplateSpace, templateKey, templateMadeOn } from '../../vms/templates.ts'
import type { RestoreOptions, Template, Vm, VmDriver, VmSize } from '../driver.ts'
import { readBinaries, type FirecrackerPaths } from './binaries.ts'
import { bootTemplate } from './boot.ts'
import type { JailHost } from './jailed.ts'
import { startSlot } from './slot.ts'

export interface FirecrackerDriverOptions {
  /** SWARM_CACHE: images, templates and jails, which must be on one file system. */
  cache: string
  /** Folder of the runner's own state: the journal of microVMs. */
  stateDir: string
  /** Processes that wait for restores at most; how many do follows the demand (vms/pool.ts). */
  warm?: number
  /** Whether the host has memory for another one that waits. */
  mayWarm?: () => boolean
  paths?: FirecrackerPaths
  uids?: UidRange
  /** MiB a second that each disk of a microVM may read and write; no limit when 0. */
  diskMbPerS?: number
  /** Told of everything that somebody should know: what could not be limited, what was reclaimed. */
  onNotice?: (notice: string) => void
}

export interface FirecrackerDriver extends VmDriver {
  /** What dead runners had left and was removed when this driver was made. */
  readonly reclaimed: readonly ReclaimedOrphan[]
  /** Returns when at least `count` processes wait for restores of this template. */
  prewarm(template: Template, count: number): Promise<void>
  /** Ends the processes that wait for restores: their memory is needed for work. */
  letGo(): Promise<void>
}

/** What the VMM needs beside the guest's memory, bytes: itself, its device buffers and the page cache of the scratch disk. */
const VMM_OVERHEAD_BYTES = 256 * 1024 * 1024
/** What of that cannot be taken back from it (page cache can): what a host must have for it. */
const TAKEN_OVERHEAD_BYTES = 32 * 1024 * 1024
/** Of Firecracker. */
const MAX_VCPUS = 32

/**
 * microVMs by Firecracker, each in a jail of its own. Reclaims what dead runners of this state folder have left.
 * @throws DomainError root_needed, tools_missing; driver_unavailable when the programs are not there, too old, or of two releases
 */
export async function createFirecrackerDriver(options: FirecrackerDriverOptions): Promise<FirecrackerDriver> {
  const { cache, stateDir, warm = 2, paths = {}, uids = DEFAULT_UIDS, diskMbPerS = 0, mayWarm, onNotice = () => {} } = options
  requireRoot('The Firecracker driver')
  requireTools(FIRECRACKER_TOOLS, 'The Firecracker driver')
  const binaries = await readBinaries(paths)
  const { journal, cgroups, reclaimed, unenforced } = await openHost(stateDir, onNotice)
  const host: JailHost = { binaries, journal, cgroups, jails: jailsFolder(cache), uids }
  const vmHost = { driver: 'firecracker', journal, cgroups, vmmOverheadBytes: VMM_OVERHEAD_BYTES, onTrouble: onNotice } as const

  const marks = new Map<string, Disposable>()
  const live = new Set<Vm>()
  let disposed = false

  const pool: SlotPool<VmmSlot> = createSlotPool({
    start: (template) => startSlot(host, template, { memoryBytes: vmmMemoryBytes(template, vmHost), diskMbPerS }),
    end: (slot) => slot.release([]),
    gone: (slot) => slot.exited,
    most: warm, startsAtOnce: Math.max(1, Math.floor(availableParallelism() / 2)), ...(mayWarm === undefined ? {} : { mayGrow: mayWarm }),
    // It takes disk, not memory: it is removed with the stale ones.
    onIdleTemplate: async () => {},
    onNotice,
  })

  async function restore(template: Template, request: RestoreOptions): Promise<Vm> {
    if (disposed) throw new DomainError('driver_unavailable', { driver: 'firecracker', problem: 'it is shut down' })
    const startedAt = performance.now()
    const slot = await pool.take(template)
    try {
      const { vm } = await startVm(vmHost, slot, template, request, startedAt)
      live.add(vm)
      void vm.ended.then(() => {
        live.delete(vm)
        pool.use(template) // a check follows most attempts
      })
      return vm
    } finally {
      pool.replenish(template)
    }
  }

  return {
    name: 'firecracker', isolates: true, savesScratch: true, forkProblem: 'a Firecracker that is saved loses its connections, so that the original would not go on', unenforced, reclaimed, restore, overheadBytes: TAKEN_OVERHEAD_BYTES,
    live: () => [...live].map(({ id }) => id),
    prewarm: pool.prewarm,
    letGo: pool.trim,
    async buildTemplate(given: Image | null, size: VmSize, onProgress: (progress: BuildProgress) => void = () => {}) {
      if (given === null) throw new TypeError('the Firecracker driver boots an image')
      if (size.vcpus > MAX_VCPUS) throw new DomainError('invalid_input', { field: 'vm.vcpus', problem: `Firecracker has at most ${MAX_VCPUS}.` })
      const image: Image = given
      const madeOn = { vmmVersion: binaries.version, cpuModel: readCpuModel() }
      // No boot id, as in QEMU's keys: its snapshots are files that outlive a reboot.
      const key = templateKey(image, size, { ...madeOn, kernelRelease: release() }, 'firecracker')
      const template = known() ?? await build()
      // Anew each time: the folder that the last mark was in may have been removed from under us.
      marks.set(key, markTemplateUsed(template))
      pool.use(template)
      return template

      /** One of this key was saved here, unless the cache came from elsewhere. */
      function known(): Template | null {
        const found = readTemplate(cache, key, image, 'firecracker')
        const other = found === null ? madeOn : templateMadeOn(found)
        if (other.vmmVersion !== madeOn.vmmVersion || other.cpuModel !== madeOn.cpuModel) throw new DomainError('template_incompatible', { problem: `${found?.directory} was saved by Firecracker ${other.vmmVersion} on ${other.cpuModel}; this is ${madeOn.vmmVersion} on ${madeOn.cpuModel}` })
        return found
      }

      async function build(): Promise<Template> {
        requireTemplateSpace(cache, size, 'firecracker')
        await using _lock = await lockFile(join(firecrackerFolder(cache), 'templates.lock'), () => onProgress({ phase: 'waiting', detail: 'another process boots a template' }))
        removeTemplates(cache, 'stale')
        const meanwhile = known()
        if (meanwhile !== null) return meanwhile
        onProgress({ phase: 'template', detail: `booting ${size.memoryMb} MB with Firecracker ${binaries.version}` })
        const startedAt = performance.now()
        const folder = buildingFolder(cache, key, 'firecracker')
        mkdirSync(host.jails, { recursive: true, mode: 0o700 })
        await bootTemplate(host, folder, image, size, `swarm-slot-template-${key.slice(0, 8)}`, vmmMemoryBytes({ size }, vmHost))
        await noteExtents(folder)
        const built = finishTemplate(cache, folder, key, image, size, madeOn, 'firecracker')
        onProgress({ phase: 'ready', detail: `template booted in ${Math.round(performance.now() - startedAt)} ms` })
        return built
      }
    },
    async [Symbol.asyncDispose]() {
      disposed = true
      await Promise.all([...[...live].map((vm) => vm[Symbol.asyncDispose]()), pool[Symbol.asyncDispose]()])
      for (const mark of marks.values()) mark[Symbol.dispose]()
      removeSharedCgroups(cgroups)
      removeEmptyJails(cache)
    },
  }
}
