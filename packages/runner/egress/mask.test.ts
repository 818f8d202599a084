import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createMask } from './mask.ts'

test('however an answer is cut into pieces, what is masked is every occurrence and nothing else, and the length stays', async () => {
  const letter = fc.constantFrom('a', 'b', '=')
  const word = (minLength: number) => fc.array(letter, { minLength, maxLength: 6 }).map((letters) => letters.join(''))
  await fc.assert(fc.asyncProperty(word(1), fc.array(word(0), { maxLength: 12 }), async (secret, pieces) => {
    const whole = pieces.join('')
    const mask = createMask([secret])
    expect(await text(Readable.from(pieces.map((piece) => Buffer.from(piece))).pipe(mask.body()))).toBe(whole.replaceAll(secret, '*'.repeat(secret.length)))
    expect(mask.headers(['x', whole])).toEqual(['x', whole.replaceAll(secret, '*'.repeat(secret.length))].map((part) => part === 'x' && secret === 'x' ? '*' : part))
  }), { numRuns: 500 })
})

test('what cannot be the beginning of a secret is passed on at once', async () => {
  const body = createMask(['secret-value']).body()
  body.write('data: one\n\n')
  expect((body.read() as Buffer).toString()).toBe('data: one\n\n')
  body.write('data: sec')
  expect((body.read() as Buffer).toString()).toBe('data: ')
  body.end('retary\n')
  expect(await text(body)).toBe('secretary\n')
})
