/**
 * What models cost, in micro-dollars per million tokens (so $3 per million tokens is 3_000_000).
 * Source: the price list at https://platform.claude.com/docs/en/about-claude/pricing, as of the date of each row.
 */
export interface ModelPrice {
  /** ISO date: calls from then on are priced by this row (where a model has but one row, any date before its first use will do). */
  readonly from: string
  readonly input: number
  readonly output: number
  readonly cacheWrite5m: number
  readonly cacheWrite1h: number
  readonly cacheRead: number
  /** Where the whole request is dearer once its input (cache included) is above `aboveInputTokens`. */
  readonly longPrompt?: {
    readonly aboveInputTokens: number
    readonly input: number
    readonly output: number
    readonly cacheWrite5m: number
    readonly cacheWrite1h: number
    readonly cacheRead: number
  }
}

const price = (from: string, input: number, output: number, cacheRead: number): ModelPrice => ({
  from, input: usd(input), output: usd(output), cacheWrite5m: usd(input * 1.25), cacheWrite1h: usd(input * 2), cacheRead: usd(cacheRead),
})

function usd(dollars: number): number {
  return Math.round(dollars * 1_000_000)
}

const FABLE_5 = price('2026-06-09', 10, 50, 1)
const FABLE_5_1 = price('2026-09-01', 10, 50, 0.25)
const FABLE_5_2 = price('2026-11-01', 8, 40, 0.2)
const OPUS_4_5_TO_5 = price('2025-11-24', 5, 25, 0.5)
const SONNET_4 = price('2025-09-29', 3, 15, 0.3)
const { from: _from, longPrompt: _longPrompt, ...HAIKU_5_5_LONG } = price('2026-10-07', 0.5, 2.5, 0.05)

/** Rows per model id, oldest first; the last one whose date has come is used. Administrators add their own by configuration. */
export const MODEL_PRICES: PriceTable = {
  'claude-fable-5-2': [FABLE_5_2],
  'claude-fable-5-1': [FABLE_5_1],
  'claude-mythos-5-1': [FABLE_5_1],
  'claude-fable-5': [FABLE_5],
  'claude-mythos-5': [FABLE_5],
  'claude-opus-5-5': [price('2026-09-22', 4, 20, 0.2)],
  'claude-opus-5': [OPUS_4_5_TO_5],
  'claude-opus-4-8': [OPUS_4_5_TO_5],
  'claude-opus-4-7': [OPUS_4_5_TO_5],
  'claude-opus-4-6': [OPUS_4_5_TO_5],
  'claude-opus-4-5': [OPUS_4_5_TO_5],
  'claude-opus-4-5-20251101': [OPUS_4_5_TO_5],
  'claude-sonnet-5-5': [price('2026-09-28', 2, 10, 0.2), price('2026-10-07', 2, 10, 0.1)],
  'claude-sonnet-5': [price('2026-01-01', 2, 10, 0.2)],
  'claude-sonnet-4-6': [SONNET_4],
  'claude-sonnet-4-5': [SONNET_4],
  'claude-sonnet-4-5-20250929': [SONNET_4],
  'claude-haiku-5-5': [{ ...price('2026-10-07', 0.1, 0.5, 0.01), longPrompt: { aboveInputTokens: 100_000, ...HAIKU_5_5_LONG } }],
  'claude-haiku-4-5': [price('2025-10-15', 1, 5, 0.1)],
  'claude-haiku-4-5-20251001': [price('2025-10-15', 1, 5, 0.1)],
}

/** What a plain `rehearsal` is priced as, so that a rehearsal's ceilings and costs behave as with a real model. */
export const REHEARSAL_PRICED_AS = 'claude-sonnet-5-5'

/** The model whose price and behaviour a rehearsal model stands for: `rehearsal-X` for X, `rehearsal` for REHEARSAL_PRICED_AS. */
export function namesake(model: string): string {
  if (model === 'rehearsal') return REHEARSAL_PRICED_AS
  return model.startsWith('rehearsal-') ? model.slice('rehearsal-'.length) : model
}

export type PriceTable = Readonly<Record<string, readonly ModelPrice[]>>

/** The built-in table with an administrator's rows: each holds from its date on, and replaces a built-in one of the same date. */
export function mergePrices(own: PriceTable): PriceTable {
  const merged = new Map(Object.entries(MODEL_PRICES))
  for (const [model, rows] of Object.entries(own)) {
    const replaced = new Set(rows.map((row) => Date.parse(row.from)))
    merged.set(model, [...(merged.get(model) ?? []).filter((row) => !replaced.has(Date.parse(row.from))), ...rows].toSorted((a, b) => Date.parse(a.from) - Date.parse(b.from)))
  }
  return Object.fromEntries(merged)
}

/** The price of a model at a time, or null when there is none (then it may not be called). */
export function priceOf(model: string, atMs: number, table: PriceTable = MODEL_PRICES): ModelPrice | null {
  const name = namesake(model)
  const rows = Object.hasOwn(table, name) ? table[name] ?? [] : []
  return rows.findLast((row) => Date.parse(row.from) <= atMs) ?? null
}

/** Models that answer 400 to `tool_choice` of type `tool` or `any` (they always think): see each model's "what's new" page. */
const NO_FORCED_TOOLS = new Set(['claude-fable-5-1', 'claude-mythos-5-1', 'claude-fable-5-2', 'claude-mythos-5-2', 'claude-opus-5-5', 'claude-sonnet-5-5', 'claude-haiku-5-5'])

/** What a model can and cannot do, as far as Swarm's requests differ by it. */
export function modelTraits(model: string): { forcedTools: boolean } {
  return { forcedTools: !NO_FORCED_TOOLS.has(namesake(model)) }
}
