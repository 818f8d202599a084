import { DomainError } from '../errors.ts'
import { utf8Bytes } from './text.ts'

/*
 * Keeping each model request under a token cap: estimated input + `max_tokens` ≤ cap.
 *
 * The input is estimated as bytes of the request's JSON ÷ 3, rounded up, plus a fixed part for what the API adds itself when
 * a tool is forced. English prose is about 4 bytes a token and JSON about 3, so this errs on the large side.
 */
export const BYTES_PER_TOKEN = 3
/** What the API adds to the input for tools with a forced choice (its documentation names up to about 400 tokens). */
export const TOOL_USE_TOKENS = 400
/** Room for the model's name, which the request gets only when it is sent. */
const ENVELOPE_BYTES = 150
export const MIN_TOKEN_CAP = 2_000
export const DEFAULT_TOKEN_CAP = 32_000
/** Larger answers are not asked for: what is cut at `max_tokens` is paid and lost. */
export const MAX_ANSWER_TOKENS = 16_000

/** What the designer sends, before the model's name is added; a Messages API request otherwise. */
export interface DesignRequest {
  readonly max_tokens: number
  readonly system: string
  readonly messages: readonly { readonly role: 'user' | 'assistant'; readonly content: string }[]
  readonly tools: readonly { readonly name: string; readonly description: string; readonly input_schema: Readonly<Record<string, unknown>> }[]
  readonly tool_choice: { readonly type: 'tool'; readonly name: string }
}

/** Tokens that a request may cost as input, rounded up. */
export function estimateInputTokens(request: DesignRequest): number {
  return Math.ceil((utf8Bytes(JSON.stringify(request)) + ENVELOPE_BYTES) / BYTES_PER_TOKEN) + TOOL_USE_TOKENS
}

/** Estimated input and largest output together: the figure that is held against the cap. */
export function requestTokens(request: DesignRequest): number {
  return estimateInputTokens(request) + request.max_tokens
}

export interface Fit<T> { readonly taken: readonly T[]; readonly rest: readonly T[]; readonly request: DesignRequest }

/**
 * Takes as many items from the front as fit into one request under the cap.
 *
 * @param build makes the request for these items. `detail` says how much context to give: 1 is all, 0 the least; it is
 *   lowered in steps only when otherwise not one item would fit.
 * @param limit most items in one request
 * @throws DomainError token_cap_too_small {cap, needed, what}
 */
export function takeChunk<T>(items: readonly T[], cap: number, build: (items: readonly T[], detail: number) => DesignRequest, options: { limit?: number; what: (item: T | undefined) => string }): Fit<T> {
  const least = Math.min(1, items.length)
  let request: DesignRequest | null = null
  let detail = 1
  for (const step of [1, 0.5, 0.25, 0.1, 0]) {
    request = build(items.slice(0, least), step)
    detail = step
    if (requestTokens(request) <= cap) break
  }
  if (!request || requestTokens(request) > cap) {
    throw new DomainError('token_cap_too_small', { cap, needed: request ? requestTokens(request) : cap, what: options.what(items[0]) })
  }
  // More items never cost less, so the largest number that fits is found by halving.
  let low = least
  let high = Math.min(items.length, options.limit ?? items.length)
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (requestTokens(build(items.slice(0, middle), detail)) <= cap) low = middle
    else high = middle - 1
  }
  return { taken: items.slice(0, low), rest: items.slice(low), request: build(items.slice(0, low), detail) }
}
