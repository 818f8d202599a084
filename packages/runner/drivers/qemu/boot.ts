import { createWriteStream, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { DomainError } from '@swarm/core/errors.ts'
import { lastBytes } from '../../host/last-bytes.ts'
import type { Image } from '../../images/image.ts'
import { connectGuest } from '../../vms/guest-connection.ts'
import { withTimeout } from '../../vms/time-limit.ts'
import { BOOT_TIMEOUT_MS, makeScratchDisk, untilIdle, warmUp } from '../../vms/template-boot.ts'
import type { VmSize } from '../driver.ts'
import type { Accelerator } from './arguments.ts'
import { acceptOne, startQemu } from './process.ts'

/** Of a console that explains why a boot failed. */
const CONSOLE_SHOWN_BYTES = 600

/**
 * Boots the image once and saves it, idle in its blocking write, into `directory`: memory, state (of the devices) and
 * scratch (an empty file system; every clone gets a sparse copy).
 * @throws DomainError vm_start_failed with the end of the console
 */
export async function bootTemplate(directory: string, image: Image, size: VmSize, accelerator: Accelerator, name: string): Promise<void> {
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const file = (path: string) => join(directory, path)
  await makeScratchDisk(file('scratch'), size)
  mkdirSync(file('empty'), { mode: 0o700 })
  // It runs nothing but the image and our own commands, and as this user: it must write the memory file, and to a socket of ours.
  const qemu = await startQemu({
    place: { name, accelerator, image, size, scratchDisk: file('scratch'), role: { template: { memoryFile: file('memory'), consoleLog: file('console') } } },
    stateFile: null, memory: null, uid: null, folder: file('empty'), onSpawn: () => {},
  })
  try {
    const guest = connectGuest(name, qemu.channel)
    await withTimeout(guest.ready(), BOOT_TIMEOUT_MS, () => `the guest was not ready after ${BOOT_TIMEOUT_MS} ms; its console ends with: ${lastBytes(file('console'), CONSOLE_SHOWN_BYTES)}`)
    await withTimeout(warmUp(guest), BOOT_TIMEOUT_MS, () => `the guest did not run its first commands; its console ends with: ${lastBytes(file('console'), CONSOLE_SHOWN_BYTES)}`)
    guest.close()
    await untilIdle(qemu.identity.pid)
    await qemu.qmp.command('stop')
    await qemu.qmp.command('migrate-set-capabilities', { capabilities: [{ capability: 'x-ignore-shared', state: true }, { capability: 'events', state: true }] })
    const saved = qemu.qmp.event('MIGRATION', ({ status }) => status === 'completed' || status === 'failed')
    // By a socket of ours: a descriptor is not taken for an outgoing migration, and `exec:` is denied by the sandbox.
    const stream = acceptOne(file('outgoing'))
    await stream.listening
    await qemu.qmp.command('migrate', { uri: `unix:${file('outgoing')}` })
    await pipeline(await stream.connection, createWriteStream(file('state')))
    stream.close()
    if ((await saved)['status'] !== 'completed') throw new DomainError('vm_start_failed', { problem: 'the template could not be saved' })
  } finally {
    qemu.qmp[Symbol.dispose]()
    await qemu.kill()
    for (const each of ['empty', 'outgoing']) rmSync(file(each), { recursive: true, force: true })
  }
}
