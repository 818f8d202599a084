import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exportCsv } from '../src/export.js'

const finished = Array.from({ length: 10 }, (_, index) => ({ bids: [0, index + 1], tricks: [0, index + 1], bonuses: [0, 10] }))
const game = { players: ['Player "A", first', 'Player B'], phase: 'over', finished }

test('R11: a row for each player and round, below the names of the columns', () => {
  const lines = exportCsv(game).split('\r\n')
  assert.equal(lines.length, 1 + 20 + 1)
  assert.equal(lines[0], 'player,round,bid,tricks,bonus,score,total')
  assert.equal(lines[1], '"Player ""A"", first",1,0,0,0,10,10')
  assert.equal(lines[11], 'Player B,1,1,1,10,30,30')
  assert.equal(lines[20], 'Player B,10,10,10,10,210,1200')
  assert.equal(lines.at(-1), '')
})

test('R11: only a finished game is exported', () => {
  assert.throws(() => exportCsv({ ...game, phase: 'scores' }), /finished game/)
})
