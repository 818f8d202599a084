import { statSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { DomainError } from '@swarm/core/errors.ts'
import { GUEST_AGENT_PROGRAM, GUEST_WORKSPACE } from '@swarm/contract/guest-protocol.ts'
import type { MuxStream } from '@swarm/contract/channel.ts'
import type { RestoreOptions, Template, Vm, VmDriver, VmEnd } from '../drivers/driver.ts'
import { wasOutOfMemory } from '../host/cgroup.ts'
import { readCpuMs, readMemory, readScheduling } from '../host/usage.ts'
import { forwardDuplex } from './forward-duplex.ts'
import type { GuestConnection } from './guest-connection.ts'
import { watchHealth } from './health.ts'
import type { VmmSlot } from './slot.ts'
import { withTimeout } from './time-limit.ts'
import { copyScratchDisk } from './template-boot.ts'

/** For a guest that goes on to take the time; its health is looked at meanwhile. */
const CLOCK_TIMEOUT_MS = 30_000

/** Makes the Vm of a slot whose guest has been prepared. It ends once, for the first reason there is. */
export function runningVm({ driver, onTrouble }: { driver: VmDriver['name']; onTrouble(notice: string): void }, slot: VmmSlot, guest: GuestConnection, template: Template, options: RestoreOptions, cgroups: readonly string[], timings: Pick<Vm, 'vmmMs' | 'restoreMs'>): Vm {
  const { id, limits } = options
  const startedMs = Date.now()
  const ended = Promise.withResolvers<VmEnd>()
  let ending: Promise<void> | null = null
  let forwards = 0
  let egressBytes = 0
  let paused = false
  let forwardHandler: ((stream: Duplex) => void) | null = null

  const end = (reason: VmEnd['reason'], detail: string): Promise<void> => {
    ending ??= (async () => {
      clearTimeout(wallClock)
      health[Symbol.dispose]()
      const why = reason === 'crashed' && cgroups.some(wasOutOfMemory) ? `the VMM exceeded its memory limit: ${detail}` : detail
      // What could not be removed has its record, and is reclaimed once this process is gone.
      await slot.release(cgroups).catch((error: unknown) => { onTrouble(`what is left of ${id} could not be removed: ${String(error)}`) })
      ended.resolve({ reason, detail: why })
    })()
    return ending
  }
  const wallClock = limits.wallMs === undefined ? undefined : setTimeout(() => void end('wall_clock', `it ran for ${limits.wallMs} ms`), limits.wallMs)
  wallClock?.unref()

  const health = watchHealth({
    ping: () => guest.ping(),
    vmmState: () => slot.state(),
    cpu: () => readScheduling(slot.pid),
  }, { cores: Math.min(template.size.vcpus, limits.cpuShare ?? template.size.vcpus), onStuck: (detail) => void end('stuck', detail) })

  // A VMM that ends by itself has crashed, whatever it says: the guest is never asked to power off.
  void slot.exited.then((detail) => end('crashed', detail))
  void guest.closed.then(async ({ violation }) => {
    if (violation !== null) return end('protocol_violation', violation)
    // The channel closes with the process; if that lives on, the VM is unreachable and over all the same.
    return end('crashed', await Promise.race([slot.exited, nextTurn().then(() => 'the channel was closed')]))
  })

  guest.onForward((stream: MuxStream) => {
    if (forwardHandler === null) return stream.reset('no proxy')
    if (limits.egressBytes !== undefined && egressBytes >= limits.egressBytes) return stream.reset('the egress limit is reached')
    forwards += 1
    const duplex = forwardDuplex(stream, (bytes) => {
      egressBytes += bytes
      if (limits.egressBytes !== undefined && egressBytes > limits.egressBytes) duplex.destroy(new Error('the egress limit is reached'))
    })
    duplex.once('close', () => { forwards -= 1 })
    forwardHandler(duplex)
  })

  return {
    id, driver, templateKey: template.key, startedMs, ...timings,
    workspace: GUEST_WORKSPACE, agentProgram: GUEST_AGENT_PROGRAM,
    ended: ended.promise,
    async exec(request) {
      try {
        return await guest.exec(request)
      } catch (error) {
        if (!(error instanceof DomainError) || error.code !== 'vm_ended') throw error
        throw new DomainError('vm_ended', { id, ...(await ended.promise) }, { cause: error })
      }
    },
    onForward(handler) {
      forwardHandler = handler
    },
    async stats() {
      if (ending !== null) throw new DomainError('vm_ended', { id, reason: 'over', detail: 'it is being ended' })
      const scratchBytes = statSync(slot.scratchDisk, { throwIfNoEntry: false })?.blocks ?? 0
      const host = { cpuMs: readCpuMs(slot.pid), ...readMemory(slot.pid), scratchBytes: scratchBytes * 512, egressBytes, openForwards: forwards, uptimeMs: Date.now() - startedMs }
      return { ...host, ...await slot.vmmStats?.() }
    },
    get paused() { return paused },
    async pause() {
      await slot.pause()
      paused = true
    },
    async resume() {
      await slot.resume()
      paused = false
      await withTimeout(guest.setClock(), CLOCK_TIMEOUT_MS, () => `its guest did not answer within ${CLOCK_TIMEOUT_MS} ms after it stood still`)
    },
    async saveScratch(path) {
      // Stopping waits for what is on its way to the disk.
      await slot.pause()
      await copyScratchDisk(slot.scratchDisk, path)
    },
    ...(slot.readConsole === undefined ? {} : { readConsole: slot.readConsole }),
    kill: (reason) => end('killed', reason),
    [Symbol.asyncDispose]: () => end('disposed', 'it was no longer needed'),
  }
}

const nextTurn = () => new Promise<void>((resolve) => void setTimeout(resolve, 200))
