import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HELP, run } from '../src/cli.js'

test('a conversion is printed', () => {
  assert.deepEqual(run(['3', 'km', 'mi']), { code: 0, out: '3 km = 1.864114 mi\n', err: '' })
})

test('help is printed on request, and as an error when arguments are missing', () => {
  assert.deepEqual(run(['--help']), { code: 0, out: HELP, err: '' })
  assert.deepEqual(run(['3', 'km']), { code: 2, out: '', err: HELP })
})

test('faults of the user are one line on stderr', () => {
  assert.deepEqual(run(['three', 'km', 'mi']), { code: 2, out: '', err: '"three" is not a number.\n' })
  assert.equal(run(['3', 'kg', 'mi']).code, 1)
})
