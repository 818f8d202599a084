import { setTimeout as delay } from 'node:timers/promises'
import { DomainError } from '@swarm/core/errors.ts'
import type { RegisteredVm, VmRegistry } from './registry.ts'

/** Between two rounds, ms; longer when a round takes more than one part in so many of the time. */
const EVERY_MS = 2_000
const SHARE = 50

/** Measures every live microVM again and again, and takes what its console said. No heartbeat waits for it. */
export function startSampling(vms: VmRegistry, onError: (error: unknown) => void): AsyncDisposable {
  const ended = new AbortController()
  async function run(): Promise<void> {
    while (!ended.signal.aborted) {
      const startedMs = performance.now()
      for (const entry of vms.live()) {
        if (ended.signal.aborted) return
        await sample(entry).catch((error: unknown) => {
          if (!entry.ended && !(error instanceof DomainError && error.code === 'vm_ended')) onError(error)
        })
      }
      await delay(Math.max(EVERY_MS, (performance.now() - startedMs) * SHARE), undefined, { signal: ended.signal }).catch(() => undefined) // disposed
    }
  }
  const running = run()
  return {
    async [Symbol.asyncDispose]() {
      ended.abort()
      await running
    },
  }
}

/** Measures one microVM now. @throws DomainError vm_ended */
export async function sample(entry: RegisteredVm): Promise<void> {
  const { vm } = entry
  const { cpuMs, rssBytes, pssBytes, scratchBytes, egressBytes, openForwards, uptimeMs } = await vm.stats()
  entry.usage = { vmId: vm.id, cpuMs: Math.round(cpuMs), rssBytes, pssBytes, scratchBytes, egressBytes, openForwards, uptimeMs: Math.max(0, Math.round(uptimeMs)), paused: vm.paused }
  await readConsole(entry)
}

export async function readConsole({ vm, console }: RegisteredVm): Promise<void> {
  const said = await vm.readConsole?.() ?? ''
  if (said !== '') console.push(Buffer.from(said))
}
