import type { Config } from '@swarm/contract/config.ts'
import { z } from 'zod'
import { hostCommand } from './host-command.ts'
import { processesThatName } from './processes.ts'

export const Leftovers = z.object({
  vms: z.array(z.object({ folder: z.string(), slot: z.string(), vmId: z.string().nullable() })),
  templates: z.array(z.object({ directory: z.string(), bytes: z.number(), inUse: z.boolean() })),
  volatile: z.string().nullable(),
})

/** Counts what is left of microVMs of this home after its runner stopped: records in journals, and processes they name. */
export async function leftoversOf(config: Config, signal?: AbortSignal): Promise<number> {
  const { vms } = await hostCommand('leftovers', Leftovers, { env: { SWARM_HOME: config.home, SWARM_CACHE: config.cache }, ...(signal ? { signal } : {}) })
  const processes = processesThatName(`${config.home}/runner/`).filter(({ command }) => command.includes('swarm-slot-'))
  return Math.max(vms.length, processes.length)
}
