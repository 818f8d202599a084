import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { removeCgroup } from '../../host/cgroup.ts'
import { takeUser, type UidRange } from '../../host/users.ts'
import { connectGuest } from '../../vms/guest-connection.ts'
import type { VmJournal } from '../../vms/journal.ts'
import type { VmmSlot } from '../../vms/slot.ts'
import { copyScratchDisk, fillScratchDisk } from '../../vms/template-boot.ts'
import type { Template } from '../driver.ts'
import { CONSOLE_BYTES, DESCRIPTORS, type Accelerator } from './arguments.ts'
import { startQemu, type QemuProcess } from './process.ts'
import type { SealedMemories } from './sealed-memory.ts'

/** A clone of a template, or a fork of one, that has loaded its state and waits, stopped, to become a microVM. */
export interface Slot extends VmmSlot {
  readonly qemu: QemuProcess
  /** Who it runs as, unless as this process. */
  readonly uid: number | null
  /** The empty folder that it stands in. */
  readonly folder: string
}

export interface SlotPlaces {
  journal: VmJournal
  disks: string
  accelerator: Accelerator
  /** Where this process may give a QEMU a user of its own. */
  users: UidRange | null
  memory: SealedMemories['of']
}

/** A saved microVM to go on from, whose state holds its memory too. */
export interface SavedVm { readonly scratchDisk: string; readonly state: string }

/** @param saved what a fork goes on from; without it the slot begins as the template is */
export async function startSlot(template: Template, places: SlotPlaces, saved?: SavedVm): Promise<Slot> {
  const name = places.journal.newSlot()
  const disks = join(places.disks, name)
  let user: ReturnType<typeof takeUser> | null = null
  places.journal.add(name, [disks])
  const removeFiles = () => {
    rmSync(disks, { recursive: true, force: true })
    places.journal.remove(name)
    user?.[Symbol.dispose]()
  }
  try {
    user = places.users === null ? null : takeUser(places.users)
    const folder = join(disks, 'empty')
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const scratchDisk = join(disks, 'scratch')
    const { image } = template
    if (image === null) throw new TypeError('a template of the QEMU driver has an image')
    if (saved === undefined) fillScratchDisk(template.directory, scratchDisk)
    else await copyScratchDisk(saved.scratchDisk, scratchDisk)
    using memory = await places.memory(template)
    const qemu = await startQemu({
      place: { name, accelerator: places.accelerator, image, size: template.size, scratchDisk, role: 'clone' },
      stateFile: saved?.state ?? join(template.directory, 'state'), memory: memory.descriptor, uid: user?.uid ?? null, folder,
      onSpawn: (process) => places.journal.update(name, { process }),
    })
    let released: Promise<void> | null = null
    const slot: Slot = {
      name, qemu, scratchDisk, uid: user?.uid ?? null, folder, pid: qemu.identity.pid, exited: qemu.exited, mounted: saved !== undefined,
      async wake() {
        await qemu.qmp.command('cont')
      },
      async connect(vmId) {
        const guest = connectGuest(vmId, qemu.channel)
        await (saved === undefined ? guest.hello() : guest.takeOver())
        return guest
      },
      state: async () => (await qemu.qmp.command('query-status') as { status: string }).status,
      async pause() {
        await qemu.qmp.command('stop')
      },
      async resume() {
        await qemu.qmp.command('cont')
      },
      readConsole: async () => String(await qemu.qmp.command('ringbuf-read', { device: 'console', size: CONSOLE_BYTES })),
      release(cgroups) {
        released ??= (async () => {
          qemu.qmp[Symbol.dispose]()
          qemu.channel.destroy()
          await qemu.kill()
          for (const path of cgroups) await removeCgroup(path)
          removeFiles()
        })()
        return released
      },
    }
    try {
      await load(qemu, saved === undefined)
    } catch (error) {
      await slot.release([])
      throw error
    }
    return slot
  } catch (error) {
    removeFiles()
    throw error
  }
}

/** @param memoryIsThere in the template's file, mapped; else it is in the state */
async function load({ qmp }: QemuProcess, memoryIsThere: boolean): Promise<void> {
  await qmp.command('migrate-set-capabilities', { capabilities: [{ capability: 'x-ignore-shared', state: memoryIsThere }, { capability: 'events', state: true }] })
  const loaded = qmp.event('MIGRATION', ({ status }) => status === 'completed' || status === 'failed')
  await qmp.command('migrate-incoming', { uri: `fd:${DESCRIPTORS.state}` })
  if ((await loaded)['status'] !== 'completed') throw new DomainError('vm_start_failed', { problem: 'QEMU could not load the template' })
}
