import { chmodSync, chownSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { CHANNEL_VSOCK_PORT } from '@swarm/contract/guest-protocol.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Image } from '../../images/image.ts'
import { extractVmlinux } from '../../images/vmlinux.ts'
import { connectGuest, type GuestConnection } from '../../vms/guest-connection.ts'
import { withTimeout } from '../../vms/time-limit.ts'
import { BOOT_TIMEOUT_MS, makeScratchDisk, untilIdle, warmUp } from '../../vms/template-boot.ts'
import type { VmSize } from '../driver.ts'
import type { Jail } from './jail.ts'
import { explained, startJailed, type JailedFirecracker, type JailHost } from './jailed.ts'
import { REQUESTS } from './requests.ts'
import { connectVsock } from './vsock.ts'

/** The guest listens when it has booted; nothing tells when that is. */
const CONNECT_POLL_MS = 25

/**
 * Boots the image once and saves it, idle and with nobody connected, into `directory`: memory, state and scratch. A vsock that
 * carried a connection while it was saved is broken after a restore.
 * @throws DomainError vm_start_failed with the end of console and log
 */
export async function bootTemplate(host: JailHost, directory: string, image: Image, size: VmSize, name: string, memoryBytes: number): Promise<void> {
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const fileBytes = Math.max(size.memoryMb, size.scratchMb) * 1024 * 1024
  const vmm = await startJailed(host, name, { memoryBytes, fileBytes }, async (jail) => {
    await extractVmlinux(image.kernel, jail.file('kernel'))
    jail.link('initrd', image.initrd)
    jail.link('root', image.root)
    await makeScratchDisk(jail.file('scratch'), size)
    for (const file of ['kernel', 'scratch'] as const) jail.give(file)
  }).catch((error: unknown) => {
    rmSync(directory, { recursive: true, force: true })
    throw error
  })
  try {
    const { api, jail, exited } = vmm
    const died = exited.then((detail): never => { throw new DomainError('vm_start_failed', { problem: detail }) })
    await Promise.race([died, (async () => {
      for (const request of [
        REQUESTS.logger(), REQUESTS.metrics(), REQUESTS.serial(), REQUESTS.machine(size), REQUESTS.bootSource(), REQUESTS.drive('root'), REQUESTS.drive('scratch'),
        REQUESTS.vsock(), REQUESTS.entropy(), REQUESTS.balloon(), REQUESTS.start(),
      ]) await api.send(request)
      await saveWhenWarm(vmm, name)
    })()])
    keep(jail, directory)
  } catch (error) {
    rmSync(directory, { recursive: true, force: true })
    throw explained(error, vmm.jail)
  } finally {
    await vmm.release([])
  }
}

async function saveWhenWarm({ api, jail, exited, identity }: JailedFirecracker, name: string): Promise<void> {
  const stopped = new AbortController()
  void exited.then(() => stopped.abort())
  const within = <Value>(work: Promise<Value>, problem: string) => withTimeout(work, BOOT_TIMEOUT_MS, () => `${problem} within ${BOOT_TIMEOUT_MS} ms; its console ends with: ${jail.tail('console')}`)
  try {
    const guest = await within(connectWhenReady(jail, name, stopped.signal), 'the guest was not ready')
    await within(warmUp(guest), 'the guest did not run its first commands')
    guest.close()
    await guest.closed
  } finally {
    stopped.abort()
  }
  // The guest sees the end of the connection, and waits again.
  await untilIdle(identity.pid)
  await api.send(REQUESTS.pause())
  await api.send(REQUESTS.save())
}

async function connectWhenReady(jail: Jail, name: string, stopped: AbortSignal): Promise<GuestConnection> {
  while (!stopped.aborted) {
    try {
      const guest = connectGuest(name, await connectVsock(jail.socket('vsock'), CHANNEL_VSOCK_PORT))
      await guest.ready()
      return guest
    } catch {
      await delay(CONNECT_POLL_MS) // nobody listens yet
    }
  }
  throw new DomainError('vm_start_failed', { problem: 'nobody waits for the guest any more' })
}

/** Memory and state are read by every jail and written by none: they belong to root from now on. */
function keep(jail: Jail, directory: string): void {
  for (const [file, mode] of [['memory', 0o444], ['state', 0o444], ['scratch', 0o600]] as const) {
    renameSync(jail.file(file), join(directory, file))
    chownSync(join(directory, file), 0, 0)
    chmodSync(join(directory, file), mode)
  }
}
