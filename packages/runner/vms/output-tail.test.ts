import { expect, test } from 'vitest'
import fc from 'fast-check'
import { outputTail } from './output-tail.ts'

test('the end of an output is kept, whatever the size of its chunks, in few pieces', () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 20_000 }), fc.array(fc.string({ maxLength: 9_000, unit: 'grapheme-ascii' }), { maxLength: 20 }), (limit, chunks) => {
    const tail = outputTail(limit)
    for (const chunk of chunks) tail.push(Buffer.from(chunk))
    expect(tail.text()).toBe(limit === 0 ? '' : chunks.join('').slice(-limit))
  }))
  const all = outputTail()
  for (let count = 0; count < 300_000; count++) all.push(Buffer.from('x'))
  expect(all.text()).toBe('x'.repeat(300_000))
})
