/*
 * A circuit breaker as a value: one per provider and model. Time is passed in (ms since the epoch). Every function returns
 * the circuit after it; nothing else changes one.
 *
 *   closed ──5 failures in a row, or one Retry-After──► open ──its time is over, one call probes──► half_open
 *      ▲                                                 ▲                                            │   │
 *      └──────────────────── the probe was answered ─────┼────────────────────────────────────────────┘   │
 *                                                        └───────────── the probe failed ─────────────────┘
 */

export const CIRCUIT_TRANSITIONS = {
  closed: ['open'],
  open: ['half_open'],
  // open again without a failure: the probing call ended without a verdict, and the next one probes.
  half_open: ['closed', 'open'],
} as const satisfies Record<string, readonly string[]>

export type CircuitState = keyof typeof CIRCUIT_TRANSITIONS

export interface Circuit {
  readonly state: CircuitState
  /** Failures since the last answer. */
  readonly failures: number
  /** How often in a row it opened without an answer between: the pause doubles with it. */
  readonly opened: number
  /** No call is tried before this time while it is open; 0 when it is not. */
  readonly openUntil: number
}

export const CLOSED: Circuit = { state: 'closed', failures: 0, opened: 0, openUntil: 0 }

/** Failures in a row without a Retry-After until it opens. */
export const FAILURES_TO_OPEN = 5
/** How long it stays open at first, and at most, ms; doubled each time a probe fails. */
export const FIRST_OPEN_MS = 10_000
export const LONGEST_OPEN_MS = 120_000

export type Passage =
  /** This call may be tried; `circuit` is what it is from now on. */
  | { readonly kind: 'go'; readonly circuit: Circuit }
  /** Ask again at this time, or when a verdict came. */
  | { readonly kind: 'wait'; readonly until: number }
  /** Another call probes: ask again when its verdict came. */
  | { readonly kind: 'wait_for_probe' }

/** Whether a call may be tried now. */
export function passCircuit(circuit: Circuit, now: number): Passage {
  if (circuit.state === 'closed') return { kind: 'go', circuit }
  if (circuit.state === 'half_open') return { kind: 'wait_for_probe' }
  return now < circuit.openUntil ? { kind: 'wait', until: circuit.openUntil } : { kind: 'go', circuit: { ...circuit, state: 'half_open', openUntil: 0 } }
}

/** A call was answered, be it with a refusal of its own request. While it is open this says nothing: that call began before. */
export function answeredCircuit(circuit: Circuit): Circuit {
  return circuit.state === 'open' ? circuit : CLOSED
}

/**
 * A call met an overload, or nobody.
 * @param retryAfterMs what the provider asked for, if it did: it opens at once, for at least as long
 */
export function failedCircuit(circuit: Circuit, now: number, retryAfterMs: number | null): Circuit {
  const failures = circuit.failures + 1
  const asked = retryAfterMs === null ? 0 : now + retryAfterMs
  // A call that began before it opened: it only may ask for a longer pause.
  if (circuit.state === 'open') return { ...circuit, failures, openUntil: Math.max(circuit.openUntil, asked) }
  if (circuit.state === 'closed' && failures < FAILURES_TO_OPEN && retryAfterMs === null) return { ...circuit, failures }
  const pause = retryAfterMs !== null && failures < FAILURES_TO_OPEN ? 0 : Math.min(LONGEST_OPEN_MS, FIRST_OPEN_MS * 2 ** circuit.opened)
  return { state: 'open', failures, opened: pause === 0 ? circuit.opened : circuit.opened + 1, openUntil: Math.max(now + pause, asked) }
}

/** The probing call ended without a verdict (its caller went away): the next call probes. */
export function releasedCircuit(circuit: Circuit, now: number): Circuit {
  return circuit.state === 'half_open' ? { ...circuit, state: 'open', openUntil: now } : circuit
}
