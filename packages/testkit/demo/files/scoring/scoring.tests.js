import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scoreRound } from '../src/scoring.js'

const score = scoreRound

/** The rules once more, written as a table of the four cases of the spec. */
function expected(bid, tricks, cards, bonus) {
  const cases = [
    { when: bid > 0 && tricks === bid, points: 20 * tricks + bonus },
    { when: bid > 0 && tricks > bid, points: -10 * (tricks - bid) },
    { when: bid > 0 && tricks < bid, points: -10 * (bid - tricks) },
    { when: bid === 0 && tricks === 0, points: 10 * cards },
    { when: bid === 0 && tricks > 0, points: -10 * cards },
  ].filter((entry) => entry.when)
  assert.equal(cases.length, 1)
  return cases[0].points
}

test('R5: all bids and tricks of all ten rounds, with and without a bonus', () => {
  let checked = 0
  for (let cards = 1; cards <= 10; cards++) {
    for (let bid = 0; bid <= cards; bid++) {
      for (let tricks = 0; tricks <= cards; tricks++) {
        for (const bonus of [0, 10, 50]) {
          assert.equal(score({ bid, tricks, cards, bonus }), expected(bid, tricks, cards, bonus), `bid ${bid}, tricks ${tricks}, cards ${cards}, bonus ${bonus}`)
          checked++
        }
      }
    }
  }
  assert.equal(checked, 3 * 505)
})

test('R5: examples from the table', () => {
  assert.equal(score({ bid: 3, tricks: 3, cards: 5, bonus: 30 }), 90)
  assert.equal(score({ bid: 3, tricks: 1, cards: 5, bonus: 30 }), -20)
  assert.equal(score({ bid: 0, tricks: 0, cards: 7 }), 70)
  assert.equal(score({ bid: 0, tricks: 2, cards: 7 }), -70)
})

test('R5: a bonus counts only with a bid above 0 that was met', () => {
  assert.equal(score({ bid: 0, tricks: 0, cards: 4, bonus: 20 }), 40)
  assert.equal(score({ bid: 2, tricks: 1, cards: 4, bonus: 20 }), -10)
})
