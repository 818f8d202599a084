import { expect, test } from 'vitest'
import { bounded } from './bounded.ts'

test('an event of megabytes is cut, and says by how much', () => {
  const event = bounded({ type: 'text', text: 'x'.repeat(3_000_000) })
  expect(event).toMatchObject({ type: 'text', text: expect.stringMatching(/x\n\[2934464 more characters\]$/) })
})

test('an ordinary event is passed on as it is', () => {
  const event = { type: 'command' as const, command: 'node --test', exitCode: 0, output: 'pass 1', wallMs: 5, partial: false }
  expect(bounded(event)).toEqual(event)
})
