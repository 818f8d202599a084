import { createWriteStream, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { randomBytes } from 'node:crypto'
import { DomainError } from '@swarm/core/errors.ts'
import { run } from '../../host/run.ts'
import { readCpuMs } from '../../host/usage.ts'
import type { Image } from '../../images/image.ts'
import { findTool } from '../../images/tools.ts'
import { connectGuest } from '../../vms/guest-connection.ts'
import type { VmSize } from '../driver.ts'
import type { Accelerator } from './arguments.ts'
import { acceptOne, startQemu } from './process.ts'

/** A cold boot takes 3 to 6 s under emulation on two cores; more when they are busy. */
const BOOT_TIMEOUT_MS = 120_000
/** Run once before the snapshot: what they read and compile is in every clone's memory already. */
const WARM_UP: string[][] = [['/bin/sh', '-c', 'true'], ['git', '--version'], ['node', '--version'], ['rg', '--version']]
/** The guest counts as idle when it has used less than this of a core in one window. */
const IDLE = { windowMs: 100, cpuMs: 10, timeoutMs: 10_000 }

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
    await withTimeout(guest.ready(), BOOT_TIMEOUT_MS, () => `the guest was not ready after ${BOOT_TIMEOUT_MS} ms; its console ends with: ${tail(file('console'))}`)
    await withTimeout(warmUp(guest), BOOT_TIMEOUT_MS, () => `the guest did not run its first commands; its console ends with: ${tail(file('console'))}`)
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

async function warmUp(guest: ReturnType<typeof connectGuest>): Promise<void> {
  await guest.hello()
  await guest.prepare({ entropy: randomBytes(32).toString('base64'), machineId: randomBytes(16).toString('hex'), hostname: 'template', mountScratch: false })
  await guest.setClock()
  for (const argv of WARM_UP) {
    const { code, stderr } = await guest.exec({ argv, cwd: '/' })
    if (code !== 0) throw new DomainError('vm_start_failed', { problem: `${argv.join(' ')} failed in the template: ${stderr.trim()}` })
  }
}

async function makeScratchDisk(path: string, size: VmSize): Promise<void> {
  // No journal: the disk ends with its VM. Lazy tables: a 2 GB disk takes about 100 kB.
  const made = await run([findTool('mkfs.ext4') ?? 'mkfs.ext4', '-q', '-F', '-m', '0', '-O', '^has_journal,^resize_inode', '-E', 'lazy_itable_init=1,nodiscard,root_owner=0:0', path, `${size.scratchMb}M`])
  if (made.code !== 0) throw new DomainError('vm_start_failed', { problem: `mkfs.ext4: ${made.stderr.trim()}` })
}

/** The guest falls idle without telling; what can be seen from outside is that its VMM uses no CPU. */
async function untilIdle(pid: number): Promise<void> {
  const deadline = performance.now() + IDLE.timeoutMs
  for (let before = readCpuMs(pid); performance.now() < deadline;) {
    await delay(IDLE.windowMs)
    const now = readCpuMs(pid)
    if (now - before < IDLE.cpuMs) return
    before = now
  }
}

export async function withTimeout<Value>(work: Promise<Value>, timeoutMs: number, problem: () => string): Promise<Value> {
  const aborted = Promise.withResolvers<never>()
  const timer = setTimeout(() => aborted.reject(new DomainError('vm_start_failed', { problem: problem() })), timeoutMs)
  return Promise.race([work, aborted.promise]).finally(() => clearTimeout(timer))
}

const tail = (path: string) => readFileSync(path, 'latin1').slice(-600).trim()
