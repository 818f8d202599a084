import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_NAME_LENGTH, RuleError, startGame } from '../src/game.js'

const names = (count) => Array.from({ length: count }, (_, index) => `Player ${index + 1}`)
const refused = (input, why) => assert.throws(() => startGame(input), (error) => error instanceof RuleError && why.test(error.message))

test('R1: a new game waits for the bids of its first round', () => {
  assert.deepEqual(startGame(['Player A', 'Player B']), {
    players: ['Player A', 'Player B'], round: 1, phase: 'bids', bids: [], tricks: [], bonuses: [], finished: [],
  })
})

test('R1: two to eight players can play', () => {
  for (let count = 2; count <= 8; count++) assert.equal(startGame(names(count)).players.length, count)
  refused(names(1), /at least 2/)
  refused([], /at least 2/)
  refused(names(9), /at most 8/)
})

test('R1: names are trimmed and have 1 to 20 characters', () => {
  assert.deepEqual(startGame(['  Player A ', 'B']).players, ['Player A', 'B'])
  assert.equal(startGame(['a'.repeat(MAX_NAME_LENGTH), 'b']).players[0].length, 20)
  refused(['Player A', '   '], /Player 2 has no name/)
  refused(['a'.repeat(21), 'b'], /longer than 20/)
})

test('R1: a name is taken once, however it is spelled', () => {
  refused(['Player A', 'player a '], /Two players are called "player a"/)
})
