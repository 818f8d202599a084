import fc from 'fast-check'
import { expect, test } from 'vitest'
import { begun, GUESSING_RULES, nextTryAt, type Guesses } from './guessing.ts'

const rule = GUESSING_RULES.account
const NONE: Guesses = { failures: 0, lastAt: 0 }

test('the first mistakes cost nothing, later ones double the wait, and the tenth locks for a quarter of an hour', () => {
  let guesses = NONE
  const waits = Array.from({ length: 11 }, () => {
    guesses = begun(rule, guesses, 1_000)
    return Math.max(0, nextTryAt(rule, guesses, 1_000) - 1_000)
  })
  expect(waits).toEqual([0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 900_000, 900_000])
})

test('however a guesser spreads his tries, he gets through fewer than a hundred a day', () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 30 * 60_000 }), { maxLength: 500 }), (pauses) => {
    let [now, through, guesses] = [1_000_000, 0, NONE]
    const end = now + 24 * 60 * 60_000
    for (const pause of pauses) {
      now += pause
      if (now > end) break
      if (now < nextTryAt(rule, guesses, now)) continue
      guesses = begun(rule, guesses, now)
      through += 1
    }
    expect(through).toBeLessThanOrEqual(rule.lockAt + 24 * 4)
  }), { numRuns: 200 })
})

test('a wait never grows shorter with more failures, and ends', () => {
  fc.assert(fc.property(fc.constantFrom(...Object.values(GUESSING_RULES)), fc.nat(1_000), fc.integer({ min: 1, max: 1e12 }), (each, failures, now) => {
    const at = nextTryAt(each, { failures, lastAt: now }, now)
    expect(nextTryAt(each, { failures: failures + 1, lastAt: now }, now)).toBeGreaterThanOrEqual(at)
    expect(at - now).toBeLessThanOrEqual(each.lockMs)
  }))
})

test('failures are forgotten after a quiet day', () => {
  const locked: Guesses = { failures: 50, lastAt: 1_000 }
  expect(nextTryAt(rule, locked, 1_000 + rule.forgetMs)).toBe(0)
  expect(begun(rule, locked, 1_000 + rule.forgetMs).failures).toBe(1)
})
