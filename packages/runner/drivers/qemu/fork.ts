import { chmodSync, chownSync, createWriteStream, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { DomainError } from '@swarm/core/errors.ts'
import type { GuestConnection } from '../../vms/guest-connection.ts'
import { withTimeout } from '../../vms/time-limit.ts'
import { copyScratchDisk } from '../../vms/template-boot.ts'
import type { RestoreOptions, Template, Vm } from '../driver.ts'
import { acceptOne } from './process.ts'
import type { SavedVm, Slot } from './slot.ts'

/** A running microVM with what it is made of. */
export interface RunningQemu { readonly vm: Vm; readonly slot: Slot; readonly guest: GuestConnection; readonly template: Template }

interface ForkSteps {
  /** A process that has loaded a saved microVM and waits. */
  load(saved: SavedVm): Promise<Slot>
  /** Makes it a microVM of its own, or releases it. */
  start(slot: Slot, request: RestoreOptions): Promise<Vm>
}

interface ForkFiles extends SavedVm { readonly socket: string }

/** Writing the memory and loading it go by the disk: slow ones do 50 MB/s. */
const SAVE_TIMEOUT_MS = 120_000
/** For QEMU to let go of a saving that is cancelled. */
const CANCEL_TIMEOUT_MS = 30_000
/** For a guest that has just stood still to answer. */
const ANSWER_TIMEOUT_MS = 60_000
/** QEMU slows a migration down to 128 MiB/s otherwise; bytes a second. */
const NO_BANDWIDTH_LIMIT = 2 ** 40
/** Name of the socket in the folder that the parent stands in: a path from there, since it can go no other way. */
const SOCKET = 'fork'
const MB = 1024 ** 2
/** What a guest of so much memory is saved as at most, bytes: every page once with its head of 8 bytes, and the devices. */
const savedBytes = (memoryMb: number) => Math.round(memoryMb * 1.05 + 64) * MB

const forking = new WeakSet<RunningQemu>()

/**
 * Forks a running microVM. A clone maps the memory of its template privately, so nothing of that mapping can be shared on: the parent
 * writes its whole memory and state to a file beside its scratch disk (by a socket of ours: it may open no file, and start no program),
 * which the children load from a descriptor. All of them, or none.
 */
export async function forkQemu(parent: RunningQemu, children: readonly RestoreOptions[], steps: ForkSteps): Promise<Vm[]> {
  const { id } = parent.vm
  if (parent.vm.paused) throw new DomainError('vm_refused', { id, problem: 'it is paused' })
  if (forking.has(parent)) throw new DomainError('vm_refused', { id, problem: 'it is being forked already' })
  forking.add(parent)
  try {
    const slots = await loadChildren(parent, children.length, steps)
    const begun = await Promise.allSettled(children.map((request, at) => steps.start(slots[at] as Slot, request)))
    const failed = begun.find((each) => each.status === 'rejected')
    if (failed === undefined) return begun.flatMap((each) => (each.status === 'fulfilled' ? each.value : []))
    for (const each of begun) if (each.status === 'fulfilled') await each.value[Symbol.asyncDispose]()
    throw failed.reason
  } finally {
    forking.delete(parent)
  }
}

async function loadChildren(parent: RunningQemu, count: number, { load }: ForkSteps): Promise<Slot[]> {
  const { scratchDisk, folder } = parent.slot
  const beside = dirname(scratchDisk)
  const files: ForkFiles = { scratchDisk: join(beside, 'fork-scratch'), state: join(beside, 'fork-state'), socket: join(folder, SOCKET) }
  const slots: Slot[] = []
  try {
    await save(parent, files)
    for (let at = 0; at < count; at++) slots.push(await load(files))
    return slots
  } catch (error) {
    await Promise.all(slots.map((slot) => slot.release([])))
    throw error
  } finally {
    for (const path of Object.values(files)) rmSync(path, { recursive: true, force: true })
  }
}

/** The parent's memory, state and disk of one moment, in which nothing is on its way to its guest; it goes on with randomness that the children do not have. */
async function save({ vm, slot, guest, template }: RunningQemu, files: ForkFiles): Promise<void> {
  const { qmp } = slot.qemu
  const release = await guest.hold()
  try {
    await qmp.command('stop')
    try {
      await copyScratchDisk(slot.scratchDisk, files.scratchDisk)
      await qmp.command('migrate-set-capabilities', { capabilities: [{ capability: 'x-ignore-shared', state: false }, { capability: 'events', state: true }] })
      await qmp.command('migrate-set-parameters', { 'max-bandwidth': NO_BANDWIDTH_LIMIT })
      await writeState(slot, files, savedBytes(template.size.memoryMb))
    } finally {
      // QEMU takes its disks back at this command. Who was paused meanwhile stays so, and takes them back later.
      if (!vm.paused) {
        await qmp.command('cont').catch(async (error: unknown) => {
          // Its health cannot tell that from a stop that somebody wanted.
          await vm.kill('it could not go on after it was saved for a fork')
          throw error
        })
      }
    }
  } finally {
    release()
  }
  if (vm.paused) throw new DomainError('vm_refused', { id: vm.id, problem: 'it was paused while it was forked' })
  await withTimeout(guest.reseed().then(() => guest.setClock()), ANSWER_TIMEOUT_MS, () => `${vm.id} did not answer after it was forked`)
}

async function writeState({ qemu: { qmp }, folder, uid }: Slot, { socket, state }: ForkFiles, mostBytes: number): Promise<void> {
  const over = qmp.event('MIGRATION', ({ status }) => ['completed', 'failed', 'cancelled'].includes(String(status)))
  const saved = over.then(({ status }) => {
    if (status !== 'completed') throw new DomainError('vm_start_failed', { problem: 'its memory could not be saved' })
  })
  saved.catch(() => {}) // it may fail before it is awaited
  const stream = acceptOne(socket)
  let begun = false
  try {
    await stream.listening
    if (uid !== null) {
      // Its user may open nothing; now it may go through the folder that it stands in, to this socket.
      chownSync(socket, uid, uid)
      chownSync(folder, -1, uid)
      chmodSync(folder, 0o710)
    }
    await qmp.command('migrate', { uri: `unix:${SOCKET}` })
    begun = true
    const written = stream.connection.then((connection) => pipeline(connection, atMost(mostBytes), createWriteStream(state, { mode: 0o600 })))
    await withTimeout(Promise.all([written, saved]), SAVE_TIMEOUT_MS, () => `its memory was not saved within ${SAVE_TIMEOUT_MS} ms`)
  } catch (error) {
    // A guest that is let go on before this is over would be stopped again when it is.
    if (begun) await qmp.command('migrate_cancel').then(() => withTimeout(over, CANCEL_TIMEOUT_MS, () => 'its saving could not be ended'))
    throw error
  } finally {
    chmodSync(folder, 0o700)
    stream.close()
  }
}

/** A QEMU that its guest has taken over could write until the host's disk is full. */
function atMost(bytes: number): (source: AsyncIterable<Buffer>) => AsyncGenerator<Buffer> {
  return async function* (source) {
    let left = bytes
    for await (const chunk of source) {
      left -= chunk.length
      if (left < 0) throw new DomainError('vm_start_failed', { problem: `it was to be saved in ${Math.round(bytes / MB)} MB at most` })
      yield chunk
    }
  }
}
