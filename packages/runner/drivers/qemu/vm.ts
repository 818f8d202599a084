import { statSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { DomainError } from '@swarm/core/errors.ts'
import { GUEST_AGENT_PROGRAM, GUEST_WORKSPACE } from '@swarm/contract/guest-protocol.ts'
import type { MuxStream } from '@swarm/contract/channel.ts'
import { wasOutOfMemory } from '../../host/cgroup.ts'
import { readCpuMs, readMemory } from '../../host/usage.ts'
import { forwardDuplex } from '../../vms/forward-duplex.ts'
import type { GuestConnection } from '../../vms/guest-connection.ts'
import type { RestoreOptions, Template, Vm, VmEnd } from '../driver.ts'
import { CONSOLE_BYTES } from './arguments.ts'
import type { Slot } from './slot.ts'

/** Makes the Vm of a slot whose guest has been prepared. It ends once, for the first reason there is. */
export function qemuVm(slot: Slot, guest: GuestConnection, template: Template, options: RestoreOptions, cgroups: readonly string[], restoreMs: number): Vm {
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
      const outOfMemory = reason === 'crashed' && cgroups.some(wasOutOfMemory)
      await slot.release(cgroups)
      ended.resolve({ reason, detail: outOfMemory ? `the VMM exceeded its memory limit: ${detail}` : detail })
    })()
    return ending
  }
  const wallClock = limits.wallMs === undefined ? undefined : setTimeout(() => void end('wall_clock', `it ran for ${limits.wallMs} ms`), limits.wallMs)
  wallClock?.unref()

  // A VMM that ends by itself has crashed, whatever it says: the guest is never asked to power off.
  void slot.qemu.exited.then((detail) => end('crashed', detail))
  void guest.closed.then(async ({ violation }) => {
    if (violation !== null) return end('protocol_violation', violation)
    // The channel closes with the process; if that lives on, the VM is unreachable and over all the same.
    return end('crashed', await Promise.race([slot.qemu.exited, nextTurn().then(() => 'the channel was closed')]))
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
    id, driver: 'qemu', templateKey: template.key, startedMs, restoreMs,
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
      if (ending !== null) throw new DomainError('vm_ended', { id, ...(await ended.promise) })
      const { pid } = slot.qemu.identity
      const scratchBytes = statSync(slot.scratchDisk, { throwIfNoEntry: false })?.blocks ?? 0
      return { cpuMs: readCpuMs(pid), ...readMemory(pid), scratchBytes: scratchBytes * 512, egressBytes, openForwards: forwards, uptimeMs: Date.now() - startedMs }
    },
    get paused() { return paused },
    async pause() {
      await slot.qemu.qmp.command('stop')
      paused = true
    },
    async resume() {
      await slot.qemu.qmp.command('cont')
      await guest.correctClock()
      paused = false
    },
    async readConsole() {
      return String(await slot.qemu.qmp.command('ringbuf-read', { device: 'console', size: CONSOLE_BYTES }))
    },
    kill: (reason) => end('killed', reason),
    [Symbol.asyncDispose]: () => end('disposed', 'it was no longer needed'),
  }
}

const nextTurn = () => new Promise<void>((resolve) => void setTimeout(resolve, 200))

export function hostnameOf(id: string): string {
  return id.toLowerCase().replace(/[^a-z0-9-]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 63) || 'vm'
}
