import assert from 'node:assert/strict'
import { test } from 'node:test'
import { convert } from '../src/convert.js'
import { formatNumber } from '../src/format.js'

const shown = (value, from, to) => formatNumber(convert(value, from, to))

test('R1: Celsius, Fahrenheit and kelvin convert into each other', () => {
  assert.equal(shown(100, 'C', 'F'), '212')
  assert.equal(shown(-40, 'F', 'celsius'), '-40')
  assert.equal(shown(0, 'C', 'K'), '273.15')
  assert.equal(shown(0, 'kelvin', 'fahrenheit'), '-459.67')
})

test('R1: nothing is colder than absolute zero', () => {
  assert.equal(shown(-273.15, 'C', 'K'), '0')
  assert.throws(() => convert(-274, 'C', 'K'), { name: 'UnitError', message: /below absolute zero/ })
})

test('R1: a temperature is not a length', () => {
  assert.throws(() => convert(1, 'C', 'm'), { name: 'UnitError' })
})
