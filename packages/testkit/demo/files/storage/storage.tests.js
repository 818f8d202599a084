import assert from 'node:assert/strict'
import { test } from 'node:test'
import { clearGame, loadGame, saveGame, VERSION } from '../src/storage.js'

const game = { players: ['Player A', 'Player B'], round: 2, phase: 'bids', bids: [1], tricks: [], bonuses: [], finished: [{ bids: [0, 1], tricks: [0, 1], bonuses: [0, 0] }] }

function memory(entries = {}) {
  const held = new Map(Object.entries(entries))
  return { held, getItem: (key) => held.get(key) ?? null, setItem: (key, value) => void held.set(key, value), removeItem: (key) => void held.delete(key) }
}

test('R9: a stored game comes back as it was', () => {
  const storage = memory()
  saveGame(storage, game)
  assert.deepEqual(loadGame(storage), { game, problem: null })
  clearGame(storage)
  assert.deepEqual(loadGame(storage), { game: null, problem: null })
})

test('R9: what cannot be read is kept aside and reported', () => {
  for (const text of ['{', 'null', '[]', '{"version":"1"}', JSON.stringify({ version: VERSION, game: { players: [] } })]) {
    const storage = memory({ 'skull-king': text })
    const { game: loaded, problem } = loadGame(storage)
    assert.equal(loaded, null)
    assert.match(problem, /cannot be read.*skull-king\.aside\.1/)
    assert.deepEqual([...storage.held], [['skull-king.aside.1', text]])
  }
})

test('R9: a game of a newer version is kept aside and reported', () => {
  const text = JSON.stringify({ version: VERSION + 1, game })
  const storage = memory({ 'skull-king': text })
  assert.match(loadGame(storage).problem, /newer version/)
  assert.equal(storage.held.get('skull-king.aside.1'), text)
})

test('R9: every unusable game is kept, under a key of its own', () => {
  const storage = memory({ 'skull-king': 'first' })
  loadGame(storage)
  storage.setItem('skull-king', 'second')
  assert.match(loadGame(storage).problem, /aside\.2/)
  assert.deepEqual([...storage.held], [['skull-king.aside.1', 'first'], ['skull-king.aside.2', 'second']])
})
