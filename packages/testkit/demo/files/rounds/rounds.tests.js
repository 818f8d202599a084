import assert from 'node:assert/strict'
import { test } from 'node:test'
import { enterBid, enterBonus, enterTricks, nextPhase, ROUNDS, RuleError, startGame } from '../src/game.js'

const begin = () => startGame(['Player A', 'Player B', 'Player C'])
const all = (game, enter, values) => values.reduce((state, value) => enter(state, value), game)
const bids = (game, values) => nextPhase(all(game, enterBid, values))
const tricks = (game, values) => nextPhase(all(game, enterTricks, values))
const refused = (act, why) => assert.throws(act, (error) => error instanceof RuleError && why.test(error.message))

test('R2: a round goes through bids, tricks and scores, and ten rounds make a game', () => {
  let game = begin()
  for (let round = 1; round <= ROUNDS; round++) {
    assert.equal(game.round, round)
    assert.equal(game.phase, 'bids')
    game = bids(game, [0, 0, round])
    assert.equal(game.phase, 'tricks')
    game = tricks(game, [0, 0, round])
    assert.equal(game.phase, 'scores')
    game = nextPhase(enterBonus(game, 10))
    assert.equal(game.finished.length, round)
    assert.deepEqual(game.finished.at(-1), { bids: [0, 0, round], tricks: [0, 0, round], bonuses: [10, 0, 0] })
  }
  assert.equal(game.phase, 'over')
  refused(() => nextPhase(game), /over/)
})

test('R2: no phase is skipped and none is entered twice', () => {
  const game = begin()
  refused(() => enterTricks(game, 0), /phase "tricks"; this is "bids"/)
  refused(() => enterBonus(game, 0), /phase "scores"/)
  const later = bids(game, [0, 0, 0])
  refused(() => enterBid(later, 1), /phase "bids"; this is "tricks"/)
})

test('R3: a bid is a whole number from 0 to the number of the round, and all bid before tricks are entered', () => {
  const game = begin()
  for (const bid of [-1, 2, 0.5, '1', Number.NaN, undefined]) refused(() => enterBid(game, bid), /bid of Player A must be a whole number from 0 to 1/)
  refused(() => nextPhase(enterBid(game, 1)), /2 bids are missing: Player B, Player C/)
  refused(() => enterBid(all(game, enterBid, [0, 1, 0]), 0), /already/)
})

test('R4: tricks are whole numbers that make up exactly the round', () => {
  const game = bids(begin(), [1, 0, 0])
  for (const number of [-1, 2, 0.5, '1']) refused(() => enterTricks(game, number), /whole number from 0 to 1/)
  refused(() => all(game, enterTricks, [1, 1]), /has 1 tricks, and these would be 2/)
  refused(() => nextPhase(all(game, enterTricks, [0, 0, 0])), /has 1 tricks, and these are 0/)
  refused(() => nextPhase(enterTricks(game, 1)), /tricks of Player B, Player C are missing/)
  assert.equal(tricks(game, [0, 1, 0]).phase, 'scores')
})

test('R5: bonus points are whole numbers from 0', () => {
  const game = tricks(bids(begin(), [1, 0, 0]), [1, 0, 0])
  for (const points of [-10, 0.5, '10']) refused(() => enterBonus(game, points), /bonus of Player A must be a whole number from 0/)
  assert.deepEqual(nextPhase(enterBonus(game, 20)).finished[0].bonuses, [20, 0, 0])
})

test('a game is never changed, each step gives a new one', () => {
  const game = begin()
  enterBid(game, 1)
  assert.deepEqual(game, begin())
})
