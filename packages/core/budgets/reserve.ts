import type { ModelPrice } from './prices.ts'

/*
 * Money before a model call: how much must be set aside, and whether it may be. All amounts are integers of micro-dollars,
 * always rounded up, so that what is recorded is never less than what was served.
 */

/** Tokens that the API may add to a request that are not in its bytes (tool instructions, role marks). */
export const REQUEST_OVERHEAD_TOKENS = 1_000
/** A call whose answer would have to be shorter than this is not made. */
export const MIN_OUTPUT_TOKENS = 1_024

/** What a request holds, as far as its cost depends on it. */
export interface CallShape {
  /** Bytes of the request body. A token is at least one byte of it. */
  readonly requestBytes: number
  readonly maxTokens: number
  /** Which cache writes the request allows: the longest `cache_control` in it. */
  readonly cacheWrites: 'none' | '5m' | '1h'
  /** The last call of the same conversation, when this one begins with the same bytes. */
  readonly previous?: {
    /** All input tokens that the API measured for it, cached or not. */
    readonly inputTokens: number
    /** Bytes that this request has after the common beginning. */
    readonly appendedBytes: number
  }
}

/** Upper bound of the input tokens of a call. */
export function inputBound(shape: CallShape): number {
  const whole = shape.requestBytes + REQUEST_OVERHEAD_TOKENS
  return shape.previous ? Math.min(whole, shape.previous.inputTokens + shape.previous.appendedBytes) : whole
}

/** Micro-dollars that a call can cost at most, with an answer of at most `maxTokens`. */
export function reservationFor(shape: CallShape, price: ModelPrice, maxTokens: number = shape.maxTokens): number {
  const bound = inputBound(shape)
  const rates = ratesFor(price, bound)
  const dearest = Math.max(rates.input, shape.cacheWrites === 'none' ? 0 : rates.cacheWrite5m, shape.cacheWrites === '1h' ? rates.cacheWrite1h : 0)
  return microUsd(bound * dearest + maxTokens * rates.output)
}

/** Tokens as the API reports them at the end of a call. */
export interface CallUsage {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cacheReadTokens: number
  readonly cacheWrite5mTokens: number
  readonly cacheWrite1hTokens: number
}

export function totalInput(usage: CallUsage): number {
  return usage.inputTokens + usage.cacheReadTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens
}

/** Micro-dollars that a call did cost. */
export function costOf(usage: CallUsage, price: ModelPrice): number {
  const rates = ratesFor(price, totalInput(usage))
  return microUsd(usage.inputTokens * rates.input + usage.outputTokens * rates.output + usage.cacheReadTokens * rates.cacheRead
    + usage.cacheWrite5mTokens * rates.cacheWrite5m + usage.cacheWrite1hTokens * rates.cacheWrite1h)
}

/** Tokens that a call can use at most, input (cached or not) and answer. */
export function tokensFor(shape: CallShape, maxTokens: number = shape.maxTokens): number {
  return inputBound(shape) + maxTokens
}

/** What the ledger keeps when a call is over. `estimated`: the usage is not known, so the whole reservation counts. */
export function settle(reserved: { readonly microUsd: number; readonly tokens: number }, usage: CallUsage | null, price: ModelPrice): { costMicroUsd: number; tokens: number; estimated: boolean } {
  return usage === null
    ? { costMicroUsd: reserved.microUsd, tokens: reserved.tokens, estimated: true }
    : { costMicroUsd: costOf(usage, price), tokens: totalInput(usage) + usage.outputTokens, estimated: false }
}

/** What a ceiling is over, from the narrowest to the widest: one attempt, a ticket's attempts together, a session with its design, a project. */
export const CEILING_KINDS = ['attempt', 'ticket', 'session', 'project'] as const
export type CeilingKind = (typeof CEILING_KINDS)[number]
/** What a ceiling counts: micro-dollars, or input and output tokens together. */
export const BUDGET_UNITS = ['micro_usd', 'tokens'] as const
export type BudgetUnit = (typeof BUDGET_UNITS)[number]

/** One ceiling that a call stands under, as the ledger has it now; the three amounts are in its unit. */
export interface Ceiling {
  readonly kind: CeilingKind
  readonly id: string
  readonly unit: BudgetUnit
  readonly cap: number
  readonly spent: number
  /** Set aside for calls that are under way. */
  readonly reserved: number
}

export type BudgetDecision =
  | { readonly kind: 'reserve'; readonly microUsd: number; readonly tokens: number; readonly maxTokens: number }
  /** It may fit once the calls under way are settled for less than was set aside for them. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'breach'; readonly ceiling: Ceiling; readonly needed: number }

/**
 * Whether a call may be made now: as asked; else after others have ended; else with a shorter answer; else a person is asked.
 * Calls that cannot fit even when all others cost nothing are told so at once, by the first ceiling that is in the way.
 */
export function decideReservation(shape: CallShape, price: ModelPrice, ceilings: readonly Ceiling[]): BudgetDecision {
  const need = (unit: BudgetUnit, maxTokens: number): number => unit === 'tokens' ? tokensFor(shape, maxTokens) : reservationFor(shape, price, maxTokens)
  const reserve = (maxTokens: number): BudgetDecision => ({ kind: 'reserve', microUsd: need('micro_usd', maxTokens), tokens: need('tokens', maxTokens), maxTokens })
  const tight = ceilings.filter((ceiling) => need(ceiling.unit, shape.maxTokens) > left(ceiling))
  if (tight.length === 0) return reserve(shape.maxTokens)
  const floor = Math.min(MIN_OUTPUT_TOKENS, shape.maxTokens)
  const hopeless = ceilings.find((ceiling) => need(ceiling.unit, floor) > ceiling.cap - ceiling.spent)
  if (hopeless) return { kind: 'breach', ceiling: hopeless, needed: need(hopeless.unit, floor) }
  if (tight.some((ceiling) => ceiling.reserved > 0)) return { kind: 'wait' }
  const rates = ratesFor(price, inputBound(shape))
  const room = tight.map((ceiling) => {
    const forAnswer = left(ceiling) - need(ceiling.unit, 0)
    return ceiling.unit === 'tokens' ? forAnswer : Math.floor((forAnswer * 1_000_000) / rates.output)
  })
  return reserve(Math.max(floor, Math.min(shape.maxTokens, ...room)))
}

export function left(ceiling: Pick<Ceiling, 'cap' | 'spent' | 'reserved'>): number {
  return ceiling.cap - ceiling.spent - ceiling.reserved
}

/** Parts of a ceiling, in percent, at which people are told; 100 also when a call was refused because nothing fits any more. */
export const THRESHOLD_PERCENTS = [80, 90, 100] as const

/** The thresholds that this much has reached. Compared in whole numbers: a ceiling of 1 micro-dollar has all three at once. */
export function thresholdsReached(ceiling: Pick<Ceiling, 'cap' | 'spent'>): number[] {
  return THRESHOLD_PERCENTS.filter((percent) => ceiling.spent * 100 >= ceiling.cap * percent)
}

/** What a person is asked to raise a ceiling to: doubled until the call that was refused fits beside what was spent. */
export function proposedCap(ceiling: Ceiling, needed: number): number {
  let cap = Math.max(1, ceiling.cap) * 2
  while (cap < ceiling.spent + ceiling.reserved + needed) cap *= 2
  return cap
}

function ratesFor(price: ModelPrice, inputTokens: number): Omit<ModelPrice, 'from' | 'longPrompt'> {
  return price.longPrompt && inputTokens > price.longPrompt.aboveInputTokens ? price.longPrompt : price
}

/** From token × (micro-dollars per million tokens) to micro-dollars, rounded up. Exact up to 2^53, i.e. 180 million tokens at $50. */
function microUsd(product: number): number {
  return Math.ceil(product / 1_000_000)
}
