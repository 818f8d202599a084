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

/** What the ledger keeps when a call is over. `estimated`: the usage is not known, so the whole reservation counts. */
export function settle(reservedMicroUsd: number, usage: CallUsage | null, price: ModelPrice): { costMicroUsd: number; estimated: boolean } {
  return usage === null ? { costMicroUsd: reservedMicroUsd, estimated: true } : { costMicroUsd: costOf(usage, price), estimated: false }
}

/** One ceiling that a call stands under, as the ledger has it now. */
export interface Ceiling {
  readonly kind: 'session' | 'project'
  readonly id: string
  readonly capMicroUsd: number
  readonly spentMicroUsd: number
  /** Set aside for calls that are under way. */
  readonly reservedMicroUsd: number
}

export type BudgetDecision =
  | { readonly kind: 'reserve'; readonly microUsd: number; readonly maxTokens: number }
  /** It may fit once the calls under way are settled for less than was set aside for them. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'breach'; readonly ceiling: Ceiling; readonly neededMicroUsd: number }

/**
 * Whether a call may be made now: as asked; else after others have ended; else with a shorter answer; else a person is asked.
 * Calls that cannot fit even when all others cost nothing are told so at once.
 */
export function decideReservation(shape: CallShape, price: ModelPrice, ceilings: readonly Ceiling[]): BudgetDecision {
  const asked = reservationFor(shape, price)
  const tight = ceilings.filter((ceiling) => asked > left(ceiling))
  if (tight.length === 0) return { kind: 'reserve', microUsd: asked, maxTokens: shape.maxTokens }
  const floor = Math.min(MIN_OUTPUT_TOKENS, shape.maxTokens)
  const least = reservationFor(shape, price, floor)
  const hopeless = ceilings.find((ceiling) => least > ceiling.capMicroUsd - ceiling.spentMicroUsd)
  if (hopeless) return { kind: 'breach', ceiling: hopeless, neededMicroUsd: least }
  if (tight.some((ceiling) => ceiling.reservedMicroUsd > 0)) return { kind: 'wait' }
  const room = Math.min(...tight.map(left))
  const rates = ratesFor(price, inputBound(shape))
  const inputCost = reservationFor(shape, price, 0)
  const maxTokens = Math.max(floor, Math.min(shape.maxTokens, Math.floor(((room - inputCost) * 1_000_000) / rates.output)))
  return { kind: 'reserve', microUsd: reservationFor(shape, price, maxTokens), maxTokens }
}

function left(ceiling: Ceiling): number {
  return ceiling.capMicroUsd - ceiling.spentMicroUsd - ceiling.reservedMicroUsd
}

function ratesFor(price: ModelPrice, inputTokens: number): Omit<ModelPrice, 'from' | 'longPrompt'> {
  return price.longPrompt && inputTokens > price.longPrompt.aboveInputTokens ? price.longPrompt : price
}

/** From token × (micro-dollars per million tokens) to micro-dollars, rounded up. Exact up to 2^53, i.e. 180 million tokens at $50. */
function microUsd(product: number): number {
  return Math.ceil(product / 1_000_000)
}
