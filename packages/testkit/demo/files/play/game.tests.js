import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exportCsv } from '../src/export.js'
import { totals } from '../src/scoring.js'
import { clearGame, loadGame, saveGame } from '../src/storage.js'
import { createApp } from '../src/ui/app.js'
import { findAll, textOf } from '../src/ui/dom.js'
import { winnersText } from '../src/ui/ranking.js'
import { screenView } from '../src/ui/screens.js'

/** The page without a browser: forms are filled in and buttons pressed on the drawn tree. */
function openPage(held = new Map()) {
  const storage = { getItem: (key) => held.get(key) ?? null, setItem: (key, value) => void held.set(key, value), removeItem: (key) => void held.delete(key) }
  const page = { tree: null, said: [], files: [], held }
  const app = createApp({
    load: () => loadGame(storage), save: (game) => saveGame(storage, game), clear: () => clearGame(storage),
    announce: (text) => page.said.push(text), draw: (state, actions) => { page.tree = screenView(state, actions) },
    download: (name, text) => page.files.push({ name, text }), toCsv: exportCsv,
  })
  page.state = app.state
  page.press = (text) => {
    const [button] = findAll(page.tree, (node) => node.tag === 'button' && textOf(node) === text)
    assert.ok(button, `there is no button "${text}"`)
    button.attributes.onclick()
  }
  page.fill = (values) => {
    const [form] = findAll(page.tree, (node) => node.tag === 'form')
    const inputs = findAll(form, (node) => node.tag === 'input')
    const elements = Object.fromEntries(inputs.map((input, index) => [input.attributes.name, { value: String(values[index] ?? '') }]))
    form.attributes.onsubmit({ preventDefault() {}, target: { elements } })
  }
  page.round = (bids, tricks, bonuses) => {
    page.fill(bids)
    page.press('Go on')
    page.fill(tricks)
    page.press('Go on')
    page.fill(bonuses)
    page.press('Finish the round')
  }
  return page
}

const players = ['Player A', 'Player B', 'Player C']

test('a whole game of three players can be played, with a reload in the middle', () => {
  let page = openPage()
  page.fill(players)
  for (let round = 1; round <= 10; round++) {
    assert.match(textOf(page.tree), new RegExp(`Round ${round} of 10: Bids`))
    page.round([round, 0, 0], [round, 0, 0], [10, 0, 0])
    if (round === 5) page = openPage(page.held)
  }
  const { game } = page.state()
  assert.equal(game.phase, 'over')
  assert.deepEqual(totals(game.players, game.finished), [1200, 550, 550])
  assert.equal(winnersText(game.players, totals(game.players, game.finished)), 'Player A wins.')
  assert.equal(page.said.at(-1), 'The game is over.')
  page.press('Export as CSV')
  assert.equal(page.files[0].text.split('\r\n').length, 1 + 30 + 1)
  page.press('New game')
  assert.equal(page.state().game, null)
  assert.equal(page.held.size, 0)
})

test('what the rules refuse is said, and what was entered before it stays', () => {
  const page = openPage()
  page.fill(['Player A'])
  assert.match(textOf(page.tree), /at least 2 players/)
  page.fill(players)
  page.fill([1, 2, 0])
  assert.deepEqual(page.state().game.bids, [1])
  assert.match(page.said.at(-1), /bid of Player B must be a whole number from 0 to 1/)
  page.fill(['', 0])
  assert.deepEqual(page.state().game.bids, [1])
  page.fill([0, 0])
  page.press('Undo the last entry')
  assert.deepEqual(page.state().game.bids, [1, 0])
})

test('a finished round is reopened from the page, until the next has begun', () => {
  const page = openPage()
  page.fill(players)
  page.round([1, 0, 0], [1, 0, 0], [0, 0, 0])
  page.press('Reopen round 1')
  assert.equal(page.state().game.round, 1)
  page.press('Go on')
  page.press('Go on')
  page.press('Finish the round')
  page.fill([2])
  assert.throws(() => page.press('Reopen round 1'), /no button/)
})

test('every field has a label, and what could not be read is reported', () => {
  const page = openPage(new Map([['skull-king', 'not a game']]))
  assert.match(page.said[0], /cannot be read/)
  const labels = new Set(findAll(page.tree, (node) => node.tag === 'label').map((label) => label.attributes.for))
  for (const input of findAll(page.tree, (node) => node.tag === 'input')) assert.ok(labels.has(input.attributes.id))
})
