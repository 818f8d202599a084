import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { findAll, textOf } from '../src/ui/dom.js'
import { rank, rankingView, winnersText } from '../src/ui/ranking.js'

const places = (totals) => rank(totals).map(({ place }) => place)

test('R7: the best total comes first, and ties share a place', () => {
  assert.deepEqual(places([50, 90, 50, -10]), [1, 2, 2, 4])
  assert.deepEqual(places([10, 10, 10]), [1, 1, 1])
  assert.deepEqual(rank([-20, -10]), [{ player: 1, total: -10, place: 1 }, { player: 0, total: -20, place: 2 }])
})

test('R7: one winner or several', () => {
  assert.equal(winnersText(['Player A', 'Player B'], [5, 20]), 'Player B wins.')
  assert.equal(winnersText(['Player A', 'Player B', 'Player C'], [20, 5, 20]), 'Player A and Player C win.')
})

test('R7: the ranking is a table with a row for each player', () => {
  const rows = findAll(rankingView(['Player A', 'Player B'], [5, 20]), (node) => node.tag === 'tr').map((row) => row.children.map(textOf))
  assert.deepEqual(rows, [['Place', 'Player', 'Total'], ['1', 'Player B', '20'], ['2', 'Player A', '5']])
})

test('R7: the page has a place for the ranking', () => {
  assert.match(readFileSync(new URL('../index.html', import.meta.url), 'utf8'), /<section id="ranking" aria-labelledby="ranking-title" hidden>/)
})
