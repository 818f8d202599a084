import type { Config } from '@swarm/contract/config.ts'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { hostCommand } from './host-command.ts'
import { processesThatName } from './processes.ts'

export const Leftovers = z.object({
  vms: z.array(z.object({ folder: z.string(), slot: z.string(), vmId: z.string().nullable() })),
  templates: z.array(z.object({ directory: z.string(), bytes: z.number(), inUse: z.boolean() })),
  volatile: z.string().nullable(),
})

/** A runner that lost its platform ends within 10 s (tether.ts), and then what it held; a runner may be doing so while the next run is over. */
const ENDING_MS = 15_000
const LOOK_AGAIN_MS = 500

/** Counts what is left of microVMs of this home after its runner stopped: records in journals, and processes they name. */
export async function leftoversOf(config: Config, signal?: AbortSignal): Promise<number> {
  for (const until = performance.now() + ENDING_MS; ;) {
    const { vms } = await hostCommand('leftovers', Leftovers, { env: { SWARM_HOME: config.home, SWARM_CACHE: config.cache }, ...(signal ? { signal } : {}) })
    const processes = processesThatName(`${config.home}/runner/`).filter(({ command }) => command.includes('swarm-slot-'))
    const left = Math.max(vms.length, processes.length)
    if (left === 0 || performance.now() > until) return left
    await delay(LOOK_AGAIN_MS, undefined, signal ? { signal } : {}) // the kernel tells only the parent of the end of a process
  }
}
