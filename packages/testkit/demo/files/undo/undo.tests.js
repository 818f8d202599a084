import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canReopen, enterBid, enterBonus, enterTricks, nextPhase, reopenRound, ROUNDS, RuleError, startGame, undo } from '../src/game.js'

const refused = (act, why) => assert.throws(act, (error) => error instanceof RuleError && why.test(error.message))
const all = (game, enter, values) => values.reduce((state, value) => enter(state, value), game)
const playRound = (game) => {
  const cards = game.round
  const bidden = nextPhase(all(game, enterBid, [cards, 0]))
  return nextPhase(enterBonus(nextPhase(all(bidden, enterTricks, [cards, 0])), 10))
}
const begin = () => startGame(['Player A', 'Player B'])

test('R8: the last entry of each phase can be undone', () => {
  const bids = enterBid(begin(), 1)
  assert.deepEqual(undo(bids), begin())
  const tricks = nextPhase(enterBid(bids, 0))
  assert.deepEqual(undo(enterTricks(tricks, 1)), tricks)
  const scores = nextPhase(all(tricks, enterTricks, [1, 0]))
  assert.deepEqual(undo(enterBonus(scores, 30)), scores)
})

test('R8: entries of an earlier phase stay', () => {
  refused(() => undo(begin()), /nothing to undo/)
  refused(() => undo(nextPhase(all(begin(), enterBid, [0, 1]))), /nothing to undo/)
})

test('R8: a finished round can be reopened while no later one has begun', () => {
  const game = playRound(begin())
  assert.equal(canReopen(game), true)
  const reopened = reopenRound(game)
  assert.equal(reopened.round, 1)
  assert.equal(reopened.phase, 'bids')
  assert.deepEqual([reopened.bids, reopened.tricks, reopened.bonuses, reopened.finished], [[1, 0], [1, 0], [10, 0], []])
  assert.deepEqual(nextPhase(nextPhase(nextPhase(reopened))), game)
})

test('R8: not before a round is finished, and not after the next has begun', () => {
  refused(() => reopenRound(begin()), /No round is finished/)
  const begun = enterBid(playRound(begin()), 2)
  assert.equal(canReopen(begun), false)
  refused(() => reopenRound(begun), /Round 1 cannot be reopened, since round 2 has begun/)
  assert.equal(canReopen(undo(begun)), true)
})

test('R8: the last round can be reopened when the game is over', () => {
  let game = begin()
  for (let round = 1; round <= ROUNDS; round++) game = playRound(game)
  assert.equal(game.phase, 'over')
  assert.equal(reopenRound(game).round, ROUNDS)
})
