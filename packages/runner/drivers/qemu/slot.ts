import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { run } from '../../host/run.ts'
import { removeCgroup } from '../../host/cgroup.ts'
import type { VmJournal } from '../../vms/journal.ts'
import type { Template } from '../driver.ts'
import { startQemu, type QemuProcess } from './process.ts'

/** A clone of a template that has loaded its state and waits, stopped, to become a microVM. */
export interface Slot {
  readonly name: string
  readonly qemu: QemuProcess
  readonly scratchDisk: string
  /** Removes process, files, cgroups and the record. Idempotent. */
  release(cgroups: readonly string[]): Promise<void>
}

export interface SlotPlaces { journal: VmJournal; volatile: string; disks: string; accelerator: 'tcg' | 'kvm' }

/** Where a slot's disk and state come from; the memory, too, unless that is the template's. */
export interface SlotSource { readonly scratchDisk: string; readonly state: string; readonly memoryIn: 'template' | 'state' }

export async function startSlot(template: Template, places: SlotPlaces, source: SlotSource = { scratchDisk: join(template.directory, 'scratch'), state: join(template.directory, 'state'), memoryIn: 'template' }): Promise<Slot> {
  const name = places.journal.newSlot()
  const [sockets, disks] = [join(places.volatile, 'slots', name), join(places.disks, name)]
  places.journal.add(name, [sockets, disks])
  const removeFiles = () => {
    for (const folder of [sockets, disks]) rmSync(folder, { recursive: true, force: true })
    places.journal.remove(name)
  }
  try {
    for (const folder of [sockets, disks]) mkdirSync(folder, { recursive: true, mode: 0o700 })
    const scratchDisk = join(disks, 'scratch')
    const { image } = template
    if (image === null) throw new TypeError('a template of the QEMU driver has an image')
    const copied = await run(['cp', '--sparse=always', '--reflink=auto', source.scratchDisk, scratchDisk])
    if (copied.code !== 0) throw new DomainError('vm_start_failed', { problem: copied.stderr.trim() })
    const qemu = await startQemu({
      name, accelerator: places.accelerator, image, size: template.size, memoryFile: join(template.directory, 'memory'), scratchDisk,
      qmpSocket: join(sockets, 'qmp'), channelSocket: join(sockets, 'channel'), role: 'clone',
    }, source.state, (process) => places.journal.update(name, { process }))
    let released: Promise<void> | null = null
    const slot: Slot = {
      name, qemu, scratchDisk,
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
      await load(qemu, source)
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

async function load({ qmp }: QemuProcess, { memoryIn }: SlotSource): Promise<void> {
  await qmp.command('migrate-set-capabilities', { capabilities: [{ capability: 'x-ignore-shared', state: memoryIn === 'template' }, { capability: 'events', state: true }] })
  const loaded = qmp.event('MIGRATION', ({ status }) => status === 'completed' || status === 'failed')
  await qmp.command('migrate-incoming', { uri: 'fd:3' })
  if ((await loaded)['status'] !== 'completed') throw new DomainError('vm_start_failed', { problem: 'QEMU could not load the template' })
}
