import assert from 'node:assert/strict'
import { test } from 'node:test'
import { run } from '../src/cli.js'

test('R2: --precision sets the most decimals, wherever it stands', () => {
  assert.equal(run(['3', 'km', 'mi', '--precision', '2']).out, '3 km = 1.86 mi\n')
  assert.equal(run(['--precision', '0', '3', 'km', 'mi']).out, '3 km = 2 mi\n')
  assert.equal(run(['1', 'ft', 'mi', '--precision', '12']).out, '1 ft = 0.000189393939 mi\n')
})

test('R2: any other precision is refused with the range', () => {
  for (const text of ['13', '-1', '1.5', 'x', undefined]) {
    const { code, err } = run(['3', 'km', 'mi', '--precision', ...(text === undefined ? [] : [text])])
    assert.equal(code, 2)
    assert.match(err, /from 0 to 12/)
  }
})
