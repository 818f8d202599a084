import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mergePrices, MODEL_PRICES, modelTraits, priceOf, type ModelPrice } from './prices.ts'
import { costOf, decideReservation, inputBound, left, proposedCap, reservationFor, settle, thresholdsReached, tokensFor, totalInput, type CallShape, type CallUsage, type Ceiling } from './reserve.ts'

const NOW = Date.parse('2026-11-22')
const price = (model: string): ModelPrice => priceOf(model, NOW) ?? expect.fail(`no price for ${model}`)
const SONNET = price('claude-sonnet-5-5')

describe('prices', () => {
  it('gives each known model positive whole micro-dollar prices, and cache writes dearer than plain input', () => {
    for (const [model, rows] of Object.entries(MODEL_PRICES)) {
      for (const row of rows) {
        for (const value of [row.input, row.output, row.cacheRead, row.cacheWrite5m, row.cacheWrite1h]) expect(Number.isInteger(value) && value > 0, model).toBe(true)
        expect(row.cacheWrite1h).toBeGreaterThan(row.cacheWrite5m)
        expect(row.cacheWrite5m).toBeGreaterThan(row.input)
      }
    }
  })

  it('uses the row that holds at the time of the call', () => {
    expect(priceOf('claude-sonnet-5-5', Date.parse('2026-10-01'))?.cacheRead).toBe(200_000)
    expect(SONNET.cacheRead).toBe(100_000)
    expect(priceOf('claude-sonnet-5-5', Date.parse('2026-01-01'))).toBeNull()
  })

  it('has no price for a model that it does not know, nor for names that objects have by themselves', () => {
    expect(priceOf('gpt-4', NOW)).toBeNull()
    expect(priceOf('constructor', NOW)).toBeNull()
    expect(priceOf('mine', NOW, mergePrices({ mine: [SONNET] }))).toBe(SONNET)
  })

  it('takes an administrator\'s rows beside the built-in ones, each from its date on', () => {
    const dearer = { ...SONNET, from: '2027-01-01', input: 9_000_000 }
    const table = mergePrices({ 'claude-sonnet-5-5': [dearer, { ...SONNET, from: '2026-10-07', input: 1_000_000 }] })
    expect(priceOf('claude-sonnet-5-5', Date.parse('2026-10-01'), table)).toEqual(priceOf('claude-sonnet-5-5', Date.parse('2026-10-01')))
    expect(priceOf('claude-sonnet-5-5', NOW, table)?.input).toBe(1_000_000)
    expect(priceOf('claude-sonnet-5-5', Date.parse('2027-01-01') - 1, table)?.input).toBe(1_000_000)
    expect(priceOf('claude-sonnet-5-5', Date.parse('2027-01-01'), table)).toBe(dearer)
  })

  it('prices and treats a rehearsal model like its namesake', () => {
    expect(priceOf('rehearsal-claude-opus-5-5', NOW)).toEqual(price('claude-opus-5-5'))
    expect(priceOf('rehearsal', NOW)).toEqual(SONNET)
    expect(modelTraits('rehearsal-claude-opus-5-5').forcedTools).toBe(false)
    expect(modelTraits('claude-opus-4-8').forcedTools).toBe(true)
  })
})

describe('the bound of the input', () => {
  it('is the bytes of the request plus 1,000 tokens', () => {
    expect(inputBound({ requestBytes: 5_000, maxTokens: 1, cacheWrites: 'none' })).toBe(6_000)
  })

  it('is what the last call measured plus what was appended, where the beginning is the same', () => {
    expect(inputBound({ requestBytes: 50_000, maxTokens: 1, cacheWrites: 'none', previous: { inputTokens: 10_000, appendedBytes: 400 } })).toBe(10_400)
  })

  it('reserves at the dearest input price that the request allows', () => {
    const shape: CallShape = { requestBytes: 999_000, maxTokens: 0, cacheWrites: 'none' }
    expect(reservationFor(shape, SONNET)).toBe(2_000_000)
    expect(reservationFor({ ...shape, cacheWrites: '5m' }, SONNET)).toBe(2_500_000)
    expect(reservationFor({ ...shape, cacheWrites: '1h' }, SONNET)).toBe(4_000_000)
  })

  it('uses the dearer prices of a long prompt for the whole call', () => {
    const haiku = price('claude-haiku-5-5')
    const usage: CallUsage = { inputTokens: 100_001, outputTokens: 1_000_000, cacheReadTokens: 0, cacheWrite5mTokens: 0, cacheWrite1hTokens: 0 }
    expect(costOf(usage, haiku)).toBe(Math.ceil((100_001 * 500_000 + 1_000_000 * 2_500_000) / 1e6))
    expect(costOf({ ...usage, inputTokens: 100_000 }, haiku)).toBe(10_000 + 500_000)
  })
})

describe('the decision', () => {
  const shape: CallShape = { requestBytes: 0, maxTokens: 4_096, cacheWrites: 'none' } // bound 1,000 tokens = 2,000 µ$; answer 40,960 µ$
  const ceiling = (values: Partial<Ceiling>): Ceiling => ({ kind: 'session', id: 'SES-1', unit: 'micro_usd', cap: 100_000, spent: 0, reserved: 0, ...values })

  it('reserves what was asked for when it fits under every ceiling', () => {
    expect(decideReservation(shape, SONNET, [ceiling({}), ceiling({ kind: 'project', cap: 42_960 })])).toEqual({ kind: 'reserve', microUsd: 42_960, tokens: 5_096, maxTokens: 4_096 })
  })

  it('waits while other calls hold reservations', () => {
    expect(decideReservation(shape, SONNET, [ceiling({ reserved: 70_000 })])).toEqual({ kind: 'wait' })
  })

  it('asks for a shorter answer when nothing else is under way', () => {
    expect(decideReservation(shape, SONNET, [ceiling({ spent: 78_000 })])).toEqual({ kind: 'reserve', microUsd: 22_000, tokens: 3_000, maxTokens: 2_000 })
  })

  it('never makes the answer shorter than 1,024 tokens: then a person is asked', () => {
    expect(decideReservation(shape, SONNET, [ceiling({ spent: 87_760 })])).toEqual({ kind: 'reserve', microUsd: 12_240, tokens: 2_024, maxTokens: 1_024 })
    expect(decideReservation(shape, SONNET, [ceiling({ spent: 87_761 })])).toMatchObject({ kind: 'breach', needed: 12_240 })
  })

  it('says so at once when waiting cannot help', () => {
    expect(decideReservation(shape, SONNET, [ceiling({ spent: 90_000, reserved: 9_000 })])).toMatchObject({ kind: 'breach' })
  })

  it('counts tokens as it counts money, and names the first ceiling that is in the way', () => {
    const tokens = (values: Partial<Ceiling>): Ceiling => ceiling({ kind: 'attempt', id: 'ATT-1', unit: 'tokens', cap: 5_096, ...values })
    expect(decideReservation(shape, SONNET, [tokens({})])).toMatchObject({ kind: 'reserve', tokens: 5_096, maxTokens: 4_096 })
    expect(decideReservation(shape, SONNET, [tokens({ spent: 1_000 })])).toMatchObject({ kind: 'reserve', tokens: 4_096, maxTokens: 3_096 })
    expect(decideReservation(shape, SONNET, [tokens({ reserved: 1_000 })])).toEqual({ kind: 'wait' })
    const over = tokens({ spent: 4_000 })
    expect(decideReservation(shape, SONNET, [over, ceiling({ spent: 99_999 })])).toEqual({ kind: 'breach', ceiling: over, needed: 2_024 })
  })

  it('proposes a ceiling under which the refused call fits', () => {
    expect(proposedCap(ceiling({ cap: 100, spent: 90 }), 50)).toBe(200)
    expect(proposedCap(ceiling({ cap: 100, spent: 90 }), 500)).toBe(800)
  })

  it('says what part of a ceiling is used', () => {
    expect([79, 80, 90, 99, 100].map((spent) => thresholdsReached({ cap: 100, spent }))).toEqual([[], [80], [80, 90], [80, 90], [80, 90, 100]])
    expect(thresholdsReached({ cap: 1, spent: 1 })).toEqual([80, 90, 100])
  })
})

/** A call with a true cost that the API would report: never above its bytes, its overhead and max_tokens. */
const anyCall = fc.record({
  model: fc.constantFrom(...Object.keys(MODEL_PRICES)),
  requestBytes: fc.integer({ min: 0, max: 400_000 }),
  maxTokens: fc.integer({ min: 1, max: 64_000 }),
  cacheWrites: fc.constantFrom('none', '5m', '1h'),
  inputShare: fc.double({ min: 0, max: 1, noNaN: true }), writeShare: fc.double({ min: 0, max: 1, noNaN: true }),
  readShare: fc.double({ min: 0, max: 1, noNaN: true }), outputShare: fc.double({ min: 0, max: 1, noNaN: true }),
  cut: fc.boolean(),
})

function served(call: { cacheWrites: 'none' | '5m' | '1h' | string; requestBytes: number; inputShare: number; writeShare: number; readShare: number; outputShare: number }, maxTokens: number): CallUsage {
  const total = Math.floor((call.requestBytes + 1_000) * call.inputShare)
  const write = call.cacheWrites === 'none' ? 0 : Math.floor(total * call.writeShare)
  const read = Math.floor((total - write) * call.readShare)
  return {
    inputTokens: total - write - read, cacheReadTokens: read, outputTokens: Math.floor(maxTokens * call.outputShare),
    cacheWrite5mTokens: call.cacheWrites === '5m' ? write : 0, cacheWrite1hTokens: call.cacheWrites === '1h' ? write : 0,
  }
}

describe('for every call and every interleaving', () => {
  it('a reservation is never less than what the call can cost', () => {
    fc.assert(fc.property(anyCall, (call) => {
      const usage = served(call, call.maxTokens)
      expect(totalInput(usage)).toBeLessThanOrEqual(call.requestBytes + 1_000)
      expect(costOf(usage, price(call.model))).toBeLessThanOrEqual(reservationFor(call, price(call.model)))
    }))
  })

  it('recorded is at least served and never above any ceiling, in money and in tokens, whatever the order of reserving and settling', () => {
    const cap = fc.option(fc.integer({ min: 0, max: 3_000_000 }), { nil: null })
    fc.assert(fc.property(
      // Each call belongs to one of two attempts; both stand under one project. Any of the ceilings may be absent.
      fc.array(fc.record({ call: anyCall, attempt: fc.constantFrom('a', 'b') }), { minLength: 1, maxLength: 25 }),
      fc.record({ a: cap, b: cap, aTokens: cap, project: cap, projectTokens: cap }), fc.array(fc.nat(), { minLength: 60, maxLength: 60 }),
      (calls, caps, order) => {
        interface Held { at: string; microUsd: number; tokens: number; maxTokens: number; call: (typeof calls)[number]['call'] }
        const open: Held[] = []
        const ended: Array<{ at: string; microUsd: number; tokens: number; trueMicroUsd: number; trueTokens: number }> = []
        const waiting = [...calls]
        const sum = (parts: readonly number[]): number => parts.reduce((total, part) => total + part, 0)
        const ceilings = (attempt: string): Ceiling[] => {
          const one = (kind: Ceiling['kind'], id: string, unit: Ceiling['unit'], limit: number | null): Ceiling[] => {
            const of = <T extends { at: string; microUsd: number; tokens: number }>(all: readonly T[]): number => sum(all.filter((each) => kind === 'project' || each.at === id).map((each) => unit === 'tokens' ? each.tokens : each.microUsd))
            return limit === null ? [] : [{ kind, id, unit, cap: limit, spent: of(ended), reserved: of(open) }]
          }
          return [...one('attempt', attempt, 'micro_usd', attempt === 'a' ? caps.a : caps.b), ...one('attempt', attempt, 'tokens', attempt === 'a' ? caps.aTokens : null), ...one('project', 'p', 'micro_usd', caps.project), ...one('project', 'p', 'tokens', caps.projectTokens)]
        }
        const settleOne = (at: number): void => {
          const [held] = open.splice(at % open.length, 1)
          if (!held) return
          const usage = served(held.call, held.maxTokens)
          const recorded = settle(held, held.call.cut ? null : usage, price(held.call.model))
          ended.push({ at: held.at, microUsd: recorded.costMicroUsd, tokens: recorded.tokens, trueMicroUsd: costOf(usage, price(held.call.model)), trueTokens: totalInput(usage) + usage.outputTokens })
        }
        const holds = (): void => {
          for (const ceiling of [...ceilings('a'), ...ceilings('b')]) expect(left(ceiling)).toBeGreaterThanOrEqual(0)
          for (const call of ended) expect([call.microUsd >= call.trueMicroUsd, call.tokens >= call.trueTokens]).toEqual([true, true])
        }
        for (const choice of order) {
          if (open.length > 0 && (choice % 2 === 0 || waiting.length === 0)) settleOne(choice)
          else {
            const next = waiting.shift()
            if (!next) break
            const decision = decideReservation(next.call, price(next.call.model), ceilings(next.attempt))
            if (decision.kind === 'reserve') {
              expect(decision.maxTokens).toBeGreaterThanOrEqual(Math.min(1_024, next.call.maxTokens))
              expect(decision.tokens).toBe(tokensFor(next.call, decision.maxTokens))
              open.push({ ...decision, at: next.attempt, call: next.call })
            } else if (decision.kind === 'wait') {
              expect(open.length).toBeGreaterThan(0)
              waiting.push(next)
            } else expect(proposedCap(decision.ceiling, decision.needed)).toBeGreaterThanOrEqual(decision.ceiling.cap)
          }
          holds()
        }
        while (open.length > 0) settleOne(0)
        holds()
      },
    ))
  })
})
