import fc from 'fast-check'
import { expect, test } from 'vitest'
import { lines } from './lines.ts'

const split = (chunks: Uint8Array[]): string[] => {
  const seen: string[] = []
  const read = lines((line) => { seen.push(line) })
  for (const chunk of chunks) read.push(chunk)
  read.end()
  return seen
}

test('lines come out as they went in, wherever the bytes were cut', () => {
  fc.assert(fc.property(fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ''))), fc.array(fc.nat(50)), (texts, cuts) => {
    const bytes = Buffer.from(texts.map((text) => `${text}\n`).join(''))
    const chunks: Buffer[] = []
    let at = 0
    for (const cut of cuts) chunks.push(bytes.subarray(at, at += cut))
    // A stream may begin with a byte order mark, which is none of its text.
    expect(split([...chunks, bytes.subarray(at)])).toEqual(texts.map((text, index) => (index === 0 ? text.replace(/^\uFEFF/, '') : text)).filter((text) => text !== ''))
  }))
})

test('of a line without an end the first 32 Mi characters are kept, and the next line is whole again', () => {
  const chunk = Buffer.alloc(1024 * 1024, 'x')
  const seen = split([...Array.from({ length: 40 }, () => chunk), Buffer.from('\nnext\n')])
  expect(seen.map((line) => line.length)).toEqual([32 * 1024 * 1024, 4])
})
