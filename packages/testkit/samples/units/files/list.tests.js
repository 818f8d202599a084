import assert from 'node:assert/strict'
import { test } from 'node:test'
import { run } from '../src/cli.js'
import { listUnits } from '../src/list.js'

test('R3: a line for each kind, kinds and symbols in alphabetical order', () => {
  const lines = run(['--list']).out.trimEnd().split('\n')
  assert.deepEqual(lines, lines.toSorted())
  assert.ok(lines.includes('length: cm, ft, km, m, mi'))
  assert.ok(lines.includes('time: h, min, s'))
})

test('R3: the list is made of the units that it is given', () => {
  assert.equal(listUnits({ b: { kind: 'two' }, c: { kind: 'one' }, a: { kind: 'two' } }), 'one: c\ntwo: a, b\n')
})
