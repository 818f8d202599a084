import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findUnit } from '../src/lookup.js'
import { distance, nearest } from '../src/suggest.js'

test('R4: letters put in, taken out and exchanged are counted', () => {
  assert.equal(distance('metre', 'metre'), 0)
  assert.equal(distance('metr', 'metre'), 1)
  assert.equal(distance('kilometer', 'kilometres'), 2)
  assert.equal(distance('foot', 'mile'), 4)
})

test('R4: an unknown unit is answered with the most similar known one', () => {
  assert.throws(() => findUnit('metrs'), /There is no unit "metrs"\. Did you mean metre\?/)
  assert.throws(() => findUnit('Secnds'), /Did you mean seconds\?/)
})

test('R4: nothing is suggested when nothing is similar', () => {
  assert.throws(() => findUnit('parsec'), /There is no unit "parsec"\.$/)
  assert.equal(nearest('xyz', ['m', 'km']), null)
})
