import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findAll, textOf } from '../src/ui/dom.js'
import { tableView } from '../src/ui/table.js'

const game = {
  players: ['Player A', 'Player B'],
  finished: [
    { bids: [0, 1], tricks: [1, 0], bonuses: [0, 0] },
    { bids: [2, 0], tricks: [2, 0], bonuses: [10, 0] },
  ],
}

test('R6: the table shows bids, tricks, round score and total of every player and round', () => {
  const rows = findAll(tableView(game), (node) => node.tag === 'tr').map((row) => row.children.map(textOf))
  assert.deepEqual(rows, [
    ['Round', 'Player', 'Bid', 'Tricks', 'Score', 'Total'],
    ['1', 'Player A', '0', '1', '-10', '-10'],
    ['1', 'Player B', '1', '0', '-10', '-10'],
    ['2', 'Player A', '2', '2', '50', '40'],
    ['2', 'Player B', '0', '0', '20', '10'],
  ])
})

test('R10: columns and rows are headed for screen readers, and the table can be scrolled by keyboard', () => {
  const view = tableView(game)
  assert.equal(view.attributes.tabindex, 0)
  assert.equal(findAll(view, (node) => node.attributes.scope === 'row').length, 4)
  assert.equal(findAll(view, (node) => node.attributes.scope === 'col').length, 6)
})
