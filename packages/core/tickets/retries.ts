/** Why an attempt ended without a result. Each class has its own patience. */
export type FailureClass = 'infrastructure' | 'model' | 'agent' | 'checks' | 'policy' | 'budget' | 'conflict'

export type RetryDecision = { readonly kind: 'retry'; readonly delayMs: number } | { readonly kind: 'hold'; readonly reason: string }

interface RetryRule {
  /** Attempts that may fail in this class before a person is asked. */
  readonly failures: number
  /** First delay and cap, ms; doubled at each failure, with full jitter on the upper half. 0 = at once. */
  readonly firstMs: number
  readonly capMs: number
}

/**
 * Defaults: infrastructure and model faults 5 tries from 1 s doubling to a cap of 5 min; agent, gate and check failures
 * 2 more attempts with the evidence, at once, since waiting would not change the outcome; budget asks immediately.
 * (Restate pauses on exhaustion as well; Temporal doubles from 1 s.)
 */
export const RETRY_RULES: Record<FailureClass, RetryRule> = {
  infrastructure: { failures: 5, firstMs: 1_000, capMs: 300_000 },
  model: { failures: 5, firstMs: 1_000, capMs: 300_000 },
  agent: { failures: 3, firstMs: 0, capMs: 0 },
  checks: { failures: 3, firstMs: 0, capMs: 0 },
  policy: { failures: 3, firstMs: 0, capMs: 0 },
  conflict: { failures: 5, firstMs: 0, capMs: 0 },
  budget: { failures: 1, firstMs: 0, capMs: 0 },
}

/**
 * Decides what follows a failure.
 * @param counts failures per class since the last redrive, this one included
 * @param random in [0, 1): jitter, supplied by the caller
 */
export function afterFailure(failure: FailureClass, counts: Partial<Record<FailureClass, number>>, random: number): RetryDecision {
  const rule = RETRY_RULES[failure]
  const count = counts[failure] ?? 1
  if (count >= rule.failures) {
    return { kind: 'hold', reason: failure === 'budget' ? 'the budget is used up' : `${count} attempts failed (${failure})` }
  }
  const ceiling = Math.min(rule.capMs, rule.firstMs * 2 ** (count - 1))
  return { kind: 'retry', delayMs: Math.round(ceiling / 2 + (ceiling / 2) * random) }
}

/**
 * An overload of the model API is nobody's failure: it is not counted against the attempts, and ends by itself. The ticket
 * waits until the API may be asked again, and longer each time in a row: from 5 s, doubled up to 5 min.
 * @param times overloads in a row, this one included
 * @param untilAskedMs until the API may be asked again, ms
 * @returns ms until the next attempt; a little after the first that asks, so that not all come at once
 */
export function afterOverload(times: number, untilAskedMs: number, random: number): number {
  const ceiling = Math.min(300_000, 5_000 * 2 ** Math.min(times - 1, 10))
  return Math.round(Math.max(untilAskedMs, 0) + ceiling / 2 + (ceiling / 2) * random)
}
