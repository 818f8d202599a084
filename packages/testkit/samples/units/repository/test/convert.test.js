import assert from 'node:assert/strict'
import { test } from 'node:test'
import { convert } from '../src/convert.js'
import { UnitError } from '../src/lookup.js'

test('lengths, masses and times are converted', () => {
  assert.equal(convert(1, 'km', 'm'), 1_000)
  assert.equal(convert(1, 'mile', 'ft'), 5_280)
  assert.equal(convert(500, 'g', 'kg'), 0.5)
  assert.equal(convert(90, 'minutes', 'Hours'), 1.5)
})

test('units of different kinds are refused', () => {
  assert.throws(() => convert(1, 'kg', 'm'), new UnitError('kg is a mass and m a length.'))
})

test('an unknown unit is refused', () => {
  assert.throws(() => convert(1, 'parsec', 'm'), { name: 'UnitError', message: /There is no unit "parsec"\./ })
})
