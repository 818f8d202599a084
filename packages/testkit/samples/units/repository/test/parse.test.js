import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatNumber } from '../src/format.js'
import { parseNumber } from '../src/parse.js'

test('numbers are read as people write them', () => {
  assert.equal(parseNumber('1 000.5'), 1_000.5)
  assert.equal(parseNumber('-3'), -3)
  assert.equal(parseNumber('2e3'), 2_000)
  assert.equal(parseNumber('.5'), 0.5)
})

test('what is no number is null', () => {
  for (const text of ['', 'x', '1.2.3', '--1', 'NaN', 'Infinity']) assert.equal(parseNumber(text), null)
})

test('numbers are written with at most six decimals', () => {
  assert.equal(formatNumber(1.8641135767), '1.864114')
  assert.equal(formatNumber(2), '2')
})
