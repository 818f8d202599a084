import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MODEL_PRICES, modelTraits, priceOf, type ModelPrice } from './prices.ts'
import { costOf, decideReservation, inputBound, reservationFor, settle, totalInput, type CallShape, type CallUsage, type Ceiling } from './reserve.ts'

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
    expect(priceOf('mine', NOW, { mine: [SONNET] })).toBe(SONNET)
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
  const ceiling = (values: Partial<Ceiling>): Ceiling => ({ kind: 'session', id: 'SES-1', capMicroUsd: 100_000, spentMicroUsd: 0, reservedMicroUsd: 0, ...values })

  it('reserves what was asked for when it fits under every ceiling', () => {
    expect(decideReservation(shape, SONNET, [ceiling({}), ceiling({ kind: 'project', capMicroUsd: 42_960 })])).toEqual({ kind: 'reserve', microUsd: 42_960, maxTokens: 4_096 })
  })

  it('waits while other calls hold reservations', () => {
    expect(decideReservation(shape, SONNET, [ceiling({ reservedMicroUsd: 70_000 })])).toEqual({ kind: 'wait' })
  })

  it('asks for a shorter answer when nothing else is under way', () => {
    expect(decideReservation(shape, SONNET, [ceiling({ spentMicroUsd: 78_000 })])).toEqual({ kind: 'reserve', microUsd: 22_000, maxTokens: 2_000 })
  })

  it('never makes the answer shorter than 1,024 tokens: then a person is asked', () => {
    expect(decideReservation(shape, SONNET, [ceiling({ spentMicroUsd: 87_760 })])).toEqual({ kind: 'reserve', microUsd: 12_240, maxTokens: 1_024 })
    expect(decideReservation(shape, SONNET, [ceiling({ spentMicroUsd: 87_761 })])).toMatchObject({ kind: 'breach', neededMicroUsd: 12_240 })
  })

  it('says so at once when waiting cannot help', () => {
    expect(decideReservation(shape, SONNET, [ceiling({ spentMicroUsd: 90_000, reservedMicroUsd: 9_000 })])).toMatchObject({ kind: 'breach' })
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

  it('recorded is at least served and never above the cap, whatever the order of reserving and settling', () => {
    fc.assert(fc.property(
      fc.array(anyCall, { minLength: 1, maxLength: 25 }), fc.integer({ min: 0, max: 3_000_000 }), fc.array(fc.nat(), { minLength: 60, maxLength: 60 }),
      (calls, cap, order) => {
        let spent = 0
        let trueCost = 0
        const open: Array<{ reserved: number; maxTokens: number; call: (typeof calls)[number] }> = []
        const waiting = [...calls]
        const reserved = (): number => open.reduce((sum, held) => sum + held.reserved, 0)
        const settleOne = (at: number): void => {
          const [held] = open.splice(at % open.length, 1)
          if (!held) return
          const usage = served(held.call, held.maxTokens)
          trueCost += costOf(usage, price(held.call.model))
          spent += settle(held.reserved, held.call.cut ? null : usage, price(held.call.model)).costMicroUsd
        }
        for (const choice of order) {
          if (open.length > 0 && (choice % 2 === 0 || waiting.length === 0)) settleOne(choice)
          else {
            const call = waiting.shift()
            if (!call) break
            const decision = decideReservation(call, price(call.model), [{ kind: 'session', id: 's', capMicroUsd: cap, spentMicroUsd: spent, reservedMicroUsd: reserved() }])
            if (decision.kind === 'reserve') {
              expect(decision.maxTokens).toBeGreaterThanOrEqual(Math.min(1_024, call.maxTokens))
              open.push({ reserved: decision.microUsd, maxTokens: decision.maxTokens, call })
            } else if (decision.kind === 'wait') {
              expect(open.length).toBeGreaterThan(0)
              waiting.push(call)
            }
          }
          expect(spent + reserved()).toBeLessThanOrEqual(cap)
          expect(spent).toBeGreaterThanOrEqual(trueCost)
        }
        while (open.length > 0) settleOne(0)
        expect(spent).toBeLessThanOrEqual(cap)
        expect(spent).toBeGreaterThanOrEqual(trueCost)
      },
    ))
  })
})
