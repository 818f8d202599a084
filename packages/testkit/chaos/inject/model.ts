import { readFile } from 'node:fs/promises'
import type { z } from 'zod'
import type { SwitchedFault } from '../../rehearsal/fault-switch.ts'
import { seen, type Inject } from './site.ts'

/** Switches a fault on in the rehearsal; seen when the model's own log has a call that met it; not every ticket makes calls. */
const model = (fault: (target: number, forMs: number) => { times: number; fault: z.input<typeof SwitchedFault>['fault'] }): Inject => async ({ index, target, forMs }, { installation, signal }) => {
  const label = `chaos-${index}`
  const response = await fetch(`${installation.rehearsalUrl}/rehearsal/faults`, { method: 'POST', body: JSON.stringify({ label, ...fault(target, forMs) }), signal })
  if (!response.ok) throw new Error(`the rehearsal refused the fault: ${await response.text()}`)
  return await seen(async () => {
    const log = await readFile(installation.modelLog, 'utf8').catch(() => '') // there is none before the first call
    return log.includes(`"fault":"${label}: `) ? { at: Date.now() } : null
  }, { signal, withinMs: installation.pace.patienceMs + forMs })
}

export const MODEL_FAULTS = {
  'model-429': model((target) => ({ times: 1 + target % 3, fault: { kind: 'fail', status: 429, retryAfter: 0.2 + target % 10 / 10 } })),
  'model-529': model((target) => ({ times: 1 + target % 4, fault: { kind: 'fail', status: 529, retryAfter: 0.5 } })),
  'model-500': model((target) => ({ times: 1 + target % 2, fault: { kind: 'fail', status: 500 } })),
  'model-garbage': model(() => ({ times: 1, fault: { kind: 'garbage' } })),
  'model-malformed': model(() => ({ times: 1, fault: { kind: 'malformed' } })),
  'model-cut': model((target) => ({ times: 1, fault: { kind: 'cut', afterEvents: target % 5 } })),
  'model-silence': model((_target, forMs) => ({ times: 1, fault: { kind: 'silence', ms: forMs, afterEvents: 1 } })),
} satisfies Record<string, Inject>
