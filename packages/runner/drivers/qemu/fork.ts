import { randomBytes } from 'node:crypto'
import { createWriteStream, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { DomainError } from '@swarm/core/errors.ts'
import { run } from '../../host/run.ts'
import { connectGuest, type GuestConnection } from '../../vms/guest-connection.ts'
import type { RestoreOptions, Template, Vm, VmLimits } from '../driver.ts'
import { withTimeout } from './boot.ts'
import { acceptOne } from './process.ts'
import { startSlot, type Slot, type SlotPlaces } from './slot.ts'
import { hostnameOf, qemuVm } from './vm.ts'

/** What a microVM that can be forked is made of. */
export interface ForkParent { readonly slot: Slot; readonly guest: GuestConnection; readonly template: Template }

interface Forked { readonly vm: Vm; readonly slot: Slot; readonly guest: GuestConnection }

interface ForkPlaces {
  readonly places: SlotPlaces
  readonly groupsOf: (slot: Slot, limits: VmLimits) => { paths: string[]; admit(pid: number): void }
}

/** Writing the memory and loading it go by the disk: slow ones do 50 MB/s. */
const SAVE_TIMEOUT_MS = 120_000
const PREPARE_TIMEOUT_MS = 60_000
/** QEMU slows a migration down to 128 MiB/s otherwise; bytes a second. */
const NO_BANDWIDTH_LIMIT = 2 ** 40

/**
 * Forks a running microVM. A clone maps the memory of its template privately, so nothing of that mapping can be shared on: the parent
 * writes its whole memory and state to a file beside its scratch disk (by a socket of ours: the sandbox denies it new programs), which
 * the children load. All of them, or none.
 */
export async function forkQemu(vm: Vm, parent: ForkParent, children: readonly RestoreOptions[], on: ForkPlaces): Promise<Forked[]> {
  if (vm.paused) throw new DomainError('vm_refused', { id: vm.id, problem: 'it is paused' })
  if (forking.has(parent)) throw new DomainError('vm_refused', { id: vm.id, problem: 'it is being forked already' })
  forking.add(parent)
  try {
    return await forkOnce(vm, parent, children, on)
  } finally {
    forking.delete(parent)
  }
}

const forking = new WeakSet<ForkParent>()

async function forkOnce(vm: Vm, parent: ForkParent, children: readonly RestoreOptions[], on: ForkPlaces): Promise<Forked[]> {
  requireMemory(vm.id, parent.template.size.memoryMb, children.length)
  const startedAt = performance.now()
  const folder = join(parent.slot.scratchDisk, '..')
  const files = { scratchDisk: join(folder, 'fork-scratch'), state: join(folder, 'fork-state'), socket: join(folder, 'fork-socket') }
  const slots: Slot[] = []
  try {
    await save(vm, parent, files)
    for (const _ of children) slots.push(await startSlot(parent.template, on.places, { scratchDisk: files.scratchDisk, state: files.state, memoryIn: 'state' }))
    return await Promise.all(children.map((options, at) => begin(slots[at] as Slot, parent, options, on, startedAt)))
  } catch (error) {
    await Promise.all(slots.map((slot) => slot.release([])))
    throw error
  } finally {
    for (const path of Object.values(files)) rmSync(path, { force: true })
  }
}

/** The parent's memory, state and disk of one moment, in which nothing is on its way to its guest. */
async function save(vm: Vm, { slot, guest }: ForkParent, files: { scratchDisk: string; state: string; socket: string }): Promise<void> {
  const { qmp } = slot.qemu
  const release = await guest.hold()
  try {
    await qmp.command('stop')
    try {
      const copied = await run(['cp', '--sparse=always', '--reflink=auto', slot.scratchDisk, files.scratchDisk])
      if (copied.code !== 0) throw new DomainError('vm_start_failed', { problem: copied.stderr.trim() })
      await qmp.command('migrate-set-capabilities', { capabilities: [{ capability: 'x-ignore-shared', state: false }, { capability: 'events', state: true }] })
      await qmp.command('migrate-set-parameters', { 'max-bandwidth': NO_BANDWIDTH_LIMIT })
      const saved = qmp.event('MIGRATION', ({ status }) => status === 'completed' || status === 'failed')
      const stream = acceptOne(files.socket)
      await stream.listening
      await qmp.command('migrate', { uri: `unix:${files.socket}` })
      const written = stream.connection.then((connection) => pipeline(connection, createWriteStream(files.state, { mode: 0o600 })))
      await withTimeout(written, SAVE_TIMEOUT_MS, () => `its memory was not saved within ${SAVE_TIMEOUT_MS} ms`).finally(() => { stream.close() })
      if ((await saved)['status'] !== 'completed') throw new DomainError('vm_start_failed', { problem: 'its memory could not be saved' })
    } finally {
      // QEMU takes its disks back at this command.
      await qmp.command('cont')
    }
  } finally {
    release()
  }
  await withTimeout(guest.correctClock(), PREPARE_TIMEOUT_MS, () => `${vm.id} did not answer after it was forked`)
}

/** Lets a child go on, as somebody of its own. */
async function begin(slot: Slot, parent: ForkParent, options: RestoreOptions, { places, groupsOf }: ForkPlaces, startedAt: number): Promise<Forked> {
  const { id, limits } = options
  const groups = groupsOf(slot, limits)
  try {
    places.journal.update(slot.name, { vmId: id, cgroups: groups.paths })
    groups.admit(slot.qemu.identity.pid)
    const guest = connectGuest(id, slot.qemu.channel)
    const prepared = (async () => {
      // What runs in it runs on at once. Its kernel draws the same as the parent's until it is reseeded, some 100 ms later.
      await slot.qemu.qmp.command('cont')
      await guest.takeOver()
      const { done } = await guest.prepare({
        entropy: randomBytes(32).toString('base64'), machineId: randomBytes(16).toString('hex'), hostname: hostnameOf(id), mountScratch: false, ...(limits.pids === undefined ? {} : { pids: limits.pids }),
      })
      const missing = (['clock', 'reseed', 'machine_id', 'hostname'] as const).filter((step) => !done.includes(step))
      if (missing.length > 0) throw new DomainError('vm_start_failed', { problem: `it did not acknowledge ${missing.join(', ')}` })
      await guest.correctClock()
    })()
    const died = slot.qemu.exited.then((detail): never => { throw new DomainError('vm_start_failed', { problem: detail }) })
    await withTimeout(Promise.race([prepared, died]), PREPARE_TIMEOUT_MS, () => `it did not answer within ${PREPARE_TIMEOUT_MS} ms`)
    return { vm: qemuVm(slot, guest, parent.template, options, groups.paths, performance.now() - startedAt), slot, guest }
  } catch (error) {
    await slot.release(groups.paths)
    throw error
  }
}

/** A child shares nothing with its parent: it takes its whole memory. */
function requireMemory(id: string, memoryMb: number, count: number): void {
  const availableMb = Number(/^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0) / 1024
  const neededMb = memoryMb * count
  if (availableMb < neededMb) throw new DomainError('vm_refused', { id, problem: `its host has ${Math.round(availableMb)} MB of memory left, and ${count} forks may take ${neededMb} MB` })
}
