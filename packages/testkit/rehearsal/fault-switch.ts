import { z } from 'zod'

/*
 * Faults that are switched on while the rehearsal runs, by POST /rehearsal/faults: the next `times` calls meet them, whoever
 * makes them. What a script says of its turns is a part of the play; this is weather, and each call that met it carries its
 * label in the log.
 */

const times = z.number().int().positive().max(1_000).default(1)

export const SwitchedFault = z.strictObject({
  /** Stands in the log line of each call that meets it. */
  label: z.string().min(1).max(100),
  times,
  fault: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('fail'), status: z.union([z.literal(429), z.literal(500), z.literal(503), z.literal(529)]), /** Seconds. */ retryAfter: z.number().nonnegative().optional() }),
    /** 200 with a body that is no message. */
    z.strictObject({ kind: z.literal('garbage') }),
    /** The JSON of the first tool input ends in the middle. */
    z.strictObject({ kind: z.literal('malformed') }),
    z.strictObject({ kind: z.literal('cut'), afterEvents: z.number().int().nonnegative() }),
    z.strictObject({ kind: z.literal('silence'), ms: z.number().int().positive(), afterEvents: z.number().int().nonnegative().default(0) }),
  ]),
})
export type SwitchedFault = z.infer<typeof SwitchedFault>

export interface FaultSwitch {
  add(fault: SwitchedFault): void
  clear(): void
  /** The fault that this call meets, and one time less of it; null when the weather is fair. */
  take(): SwitchedFault | null
  pending(): readonly SwitchedFault[]
}

export function createFaultSwitch(): FaultSwitch {
  let queue: SwitchedFault[] = []
  return {
    add(fault) { queue.push(fault) },
    clear() { queue = [] },
    take() {
      const [first] = queue
      if (first === undefined) return null
      if (first.times > 1) queue[0] = { ...first, times: first.times - 1 }
      else queue.shift()
      return first
    },
    pending: () => queue,
  }
}
