/*
 * How guessing of passwords and codes is slowed: each failure of a subject makes it wait longer, and enough of them lock it for
 * a while. Two subjects are counted for each try: the account that is tried, and the address that tries.
 */

export interface GuessingRule {
  /** Failures that cost nothing: people mistype. */
  readonly free: number
  /** After the first one above that, ms; doubled with each. */
  readonly firstDelayMs: number
  /** From so many failures on it is locked … */
  readonly lockAt: number
  /** … for so long after each, ms. */
  readonly lockMs: number
  /** Failures are forgotten when there was none for so long, ms; above lockMs. */
  readonly forgetMs: number
}

const MINUTE_MS = 60_000

/** An address may be that of a whole office: it is given more. */
export const GUESSING_RULES = {
  account: { free: 3, firstDelayMs: 1_000, lockAt: 10, lockMs: 15 * MINUTE_MS, forgetMs: 24 * 60 * MINUTE_MS },
  address: { free: 20, firstDelayMs: 1_000, lockAt: 60, lockMs: 15 * MINUTE_MS, forgetMs: 60 * MINUTE_MS },
  /** Mails that somebody asks to be sent to one address: one, then ever fewer. */
  mail: { free: 1, firstDelayMs: MINUTE_MS, lockAt: 6, lockMs: 60 * MINUTE_MS, forgetMs: 24 * 60 * MINUTE_MS },
} as const satisfies Record<string, GuessingRule>
export type GuessingKind = keyof typeof GUESSING_RULES

export interface Guesses { readonly failures: number; readonly lastAt: number }

/** When the next try is let through, ms since the epoch; in the past when it may be made at once. */
export function nextTryAt(rule: GuessingRule, guesses: Guesses, now: number): number {
  const failures = remembered(rule, guesses, now)
  if (failures <= rule.free) return 0
  return guesses.lastAt + (failures >= rule.lockAt ? rule.lockMs : Math.min(rule.lockMs, rule.firstDelayMs * 2 ** (failures - rule.free - 1)))
}

/** A try that begins counts as a failure until it is known to have succeeded: tries at the same time cannot all be the first. */
export function begun(rule: GuessingRule, guesses: Guesses, now: number): Guesses {
  return { failures: remembered(rule, guesses, now) + 1, lastAt: now }
}

function remembered(rule: GuessingRule, guesses: Guesses, now: number): number {
  return now - guesses.lastAt >= rule.forgetMs ? 0 : guesses.failures
}
