/**
 * States of an attempt. `running`: a runner holds it under a lease. `parked`: it waits for a person's answer and holds no
 * microVM. `gating`, `verifying`: its pushed head is read by the gate, then checked in a clean microVM.
 */
export const ATTEMPT_TRANSITIONS = {
  running: ['parked', 'gating', 'failed', 'released', 'cancelled'],
  parked: ['running', 'cancelled', 'failed'],
  gating: ['verifying', 'succeeded', 'failed', 'cancelled'],
  verifying: ['succeeded', 'failed', 'cancelled'],
  succeeded: [],
  failed: [],
  released: [],
  cancelled: [],
} as const satisfies Record<string, readonly string[]>

export type AttemptState = keyof typeof ATTEMPT_TRANSITIONS

export function attemptMayBecome(from: AttemptState, to: AttemptState): boolean {
  return (ATTEMPT_TRANSITIONS[from] as readonly AttemptState[]).includes(to)
}
