import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { CHANNEL_VSOCK_PORT } from '@swarm/contract/guest-protocol.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { readCpuModel } from '../../host/machine.ts'
import { connectGuest, type GuestConnection } from '../../vms/guest-connection.ts'
import type { VmmSlot } from '../../vms/slot.ts'
import { fillScratchDisk } from '../../vms/template-boot.ts'
import { templateMadeOn } from '../../vms/templates.ts'
import type { Template, VmStats } from '../driver.ts'
import { FirecrackerError } from './api.ts'
import { explained, startJailed, type JailedFirecracker, type JailHost } from './jailed.ts'
import { guestMemory, readMetrics } from './metrics.ts'
import { REQUESTS, type ApiRequest } from './requests.ts'
import { connectVsock } from './vsock.ts'

/**
 * A restored guest first hears that connections of before are gone, and may take a new one for one of those: until it has said
 * hello nothing was asked of it, and it is connected to again. Each try that fails waits a little, 2 s in all.
 */
const HELLO = { tries: 40, waitMs: 50 }

export interface SlotOptions {
  /** Of the whole process, bytes. */
  memoryBytes: number
  /** MiB a second that a disk may read and write; no limit when 0. */
  diskMbPerS: number
}

/**
 * A jailed Firecracker that has loaded the template and stands still.
 * @throws DomainError vm_start_failed; template_incompatible when the template was saved by another version or on another CPU
 */
export async function startSlot(host: JailHost, template: Template, options: SlotOptions): Promise<VmmSlot> {
  const { image } = template
  if (image === null) throw new TypeError('a template of the Firecracker driver has an image')
  const madeOn = templateMadeOn(template)
  const cpuModel = readCpuModel()
  if (cpuModel !== madeOn.cpuModel) throw new DomainError('template_incompatible', { problem: `it was saved on the CPU ${madeOn.cpuModel}, and this is ${cpuModel}` })
  const name = host.journal.newSlot()
  const vmm = await startJailed(host, name, { memoryBytes: options.memoryBytes, fileBytes: template.size.scratchMb * 1024 * 1024 }, async (jail) => {
    for (const file of ['memory', 'state'] as const) jail.link(file, join(template.directory, file))
    jail.link('root', image.root)
    fillScratchDisk(template.directory, jail.file('scratch'))
    jail.give('scratch')
  })
  try {
    const version = versionOf(await vmm.api.send(REQUESTS.version()))
    if (version !== madeOn.vmmVersion) throw new DomainError('template_incompatible', { problem: `it was saved by Firecracker ${madeOn.vmmVersion}, and this is ${version}` })
    await load(vmm, options)
  } catch (error) {
    // The end of the process says more than the answer that did not come.
    const detail = error instanceof FirecrackerError && error.status === null ? await Promise.race([vmm.exited, delay(200)]) : undefined
    const cause = explained(detail === undefined ? error : new Error(`${(error as Error).message}; ${detail}`), vmm.jail)
    await vmm.release([])
    throw cause
  }
  return asSlot(vmm)
}

async function load({ api }: JailedFirecracker, { diskMbPerS }: SlotOptions): Promise<void> {
  await api.send(REQUESTS.logger())
  await api.send(REQUESTS.metrics())
  await api.send(REQUESTS.load())
  if (diskMbPerS > 0) for (const drive of ['root', 'scratch'] as const) await api.send(REQUESTS.limitDrive(drive, diskMbPerS))
}

function asSlot({ name, jail, identity, api, exited, release }: JailedFirecracker): VmmSlot {
  const metrics = readMetrics(jail.file('metrics'))
  const refusable = async (request: ApiRequest, vmId: string) => {
    try {
      await api.send(request)
    } catch (error) {
      throw new DomainError('vm_refused', { id: vmId, problem: error instanceof Error ? error.message : String(error) }, { cause: error })
    }
  }
  const orExplained = async <Value>(work: () => Promise<Value>): Promise<Value> => {
    try {
      return await work()
    } catch (error) {
      throw explained(error, jail)
    }
  }
  let id = name
  return {
    name, pid: identity.pid, scratchDisk: jail.file('scratch'), exited, release,
    wake: () => orExplained(async () => {
      await api.send(REQUESTS.resume())
    }),
    connect(vmId) {
      id = vmId
      return orExplained(() => sayHello(vmId, jail.socket('vsock'), exited))
    },
    state: async () => stateOf(await api.send(REQUESTS.describe())),
    pause: () => refusable(REQUESTS.pause(), id),
    resume: () => refusable(REQUESTS.resume(), id),
    async vmmStats() {
      const memory = await unlessRefused(async () => guestMemory(await api.send(REQUESTS.balloonStatistics())))
      const disk = await unlessRefused(async () => {
        await api.send(REQUESTS.flushMetrics())
        return metrics.disk()
      })
      const stats: Partial<VmStats> = { ...(memory === undefined ? {} : { guestMemory: memory }), ...(disk === undefined ? {} : { disk }) }
      return stats
    },
  }
}

/** What cannot be told (a guest without the driver, a VMM that ends meanwhile) is left out. */
async function unlessRefused<Value>(ask: () => Promise<Value>): Promise<Value | undefined> {
  try {
    return await ask()
  } catch (error) {
    if (error instanceof FirecrackerError || (error instanceof Error && 'code' in error && error.code === 'ENOENT')) return undefined
    throw error
  }
}

async function sayHello(vmId: string, socketPath: string, exited: Promise<string>): Promise<GuestConnection> {
  let over = false
  void exited.then(() => { over = true })
  for (let tries = 1; ; tries++) {
    try {
      const guest = connectGuest(vmId, await connectVsock(socketPath, CHANNEL_VSOCK_PORT))
      await guest.hello()
      return guest
    } catch (error) {
      if (over || tries === HELLO.tries) throw error
      await delay(HELLO.waitMs)
    }
  }
}

/** `Not started`, `Running` or `Paused`, in lower case. */
function stateOf(answer: unknown): string {
  return typeof answer === 'object' && answer !== null && 'state' in answer ? String(answer.state).toLowerCase() : 'unknown'
}

function versionOf(answer: unknown): string {
  return typeof answer === 'object' && answer !== null && 'firecracker_version' in answer ? String(answer.firecracker_version) : 'unknown'
}
