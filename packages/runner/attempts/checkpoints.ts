import { setTimeout as delay } from 'node:timers/promises'
import type { Vm } from '../drivers/driver.ts'
import { pushCheckpoint } from './guest-git.ts'
import type { WorkToPush } from './guest-git.ts'

/** A checkpoint that takes longer is given up: the network is cut, or the guest has better things to do. */
const TIMEOUT_MS = 60_000
/** Checkpoints take at most one part in so many of the time: under emulation each process of git costs 0.1 s and more. */
const SHARE = 20

/**
 * Pushes the work of an agent while it goes on, every `everyMs`, and tells `onCheckpoint` each commit that lies on the attempt's ref. So what
 * is lost with a microVM, a runner or a host is what was written since the last one. Disposing waits for the one on its way.
 * @param signal ends the one on its way as well
 */
export function startCheckpoints(vm: Vm, work: WorkToPush, options: {
  everyMs: number; signal: AbortSignal; onCheckpoint: (sha: string) => void; onTrouble: (error: unknown) => void
}): AsyncDisposable {
  const ended = new AbortController()
  const { signal } = options

  async function run(): Promise<void> {
    let lastTree: string | null = null
    for (let tookMs = 0; ;) {
      await delay(Math.max(options.everyMs, tookMs * SHARE), undefined, { signal: AbortSignal.any([ended.signal, signal]) })
      const startedMs = performance.now()
      // Nothing changes in it, and it would not answer.
      if (vm.paused) continue
      try {
        const { tree, commit } = await pushCheckpoint(vm, { ...work, lastTree }, { signal, timeoutMs: TIMEOUT_MS })
        lastTree = tree
        if (commit !== null) options.onCheckpoint(commit)
      } catch (error) {
        if (signal.aborted) throw error
        // The next one takes what this one did not.
        options.onTrouble(error)
      }
      tookMs = performance.now() - startedMs
    }
  }

  const running = run().catch((error: unknown) => {
    if (!ended.signal.aborted && !signal.aborted) options.onTrouble(error)
  })
  return {
    async [Symbol.asyncDispose]() {
      ended.abort()
      await running
    },
  }
}
