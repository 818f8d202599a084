import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectFiles, frequentPairs, overlap, pairsOf, predictFiles, REVIEW_PATIENCE_MS, stillDelays, sureFiles } from './predicted-files.ts'

describe('what a ticket is expected to write', () => {
  test('the literal paths of its scope and the files that its text names are; a glob is a permission, not a prediction', () => {
    expect(predictFiles({ scope: ['src/a.js', './b.js', 'src/**', '!src/c.js', 'docs/'], title: 'Mend src/d.ts', description: 'See lib/e.py, not https://example.org/f.js' }))
      .toEqual(['b.js', 'lib/e.py', 'src/a.js', 'src/d.ts'])
  })

  test('a file that changed along at least every second time is expected too, but never as surely', () => {
    const files = expectFiles(['src/a.js'], [
      { path: 'src/a.js', other: 'test/a.test.js', together: 9, changes: 10 }, { path: 'src/a.js', other: 'README.md', together: 4, changes: 10 },
    ])
    expect(files).toEqual({ 'src/a.js': 1, 'test/a.test.js': 0.9 * 0.8 })
    expect(sureFiles(files)).toEqual(['src/a.js'])
  })

  test('two changes together are chance, not history', () => {
    expect(expectFiles(['a'], [{ path: 'a', other: 'b', together: 2, changes: 2 }])).toEqual({ a: 1 })
    expect(expectFiles(['a'], [{ path: 'a', other: 'b', together: 3, changes: 3 }])).toEqual({ a: 1, b: 0.8 })
  })

  test('history says nothing about files that are not expected themselves, and makes a sure file no less sure', () => {
    expect(expectFiles(['a', 'b'], [{ path: 'x', other: 'y', together: 9, changes: 9 }, { path: 'a', other: 'b', together: 9, changes: 10 }])).toEqual({ a: 1, b: 1 })
  })

  test('a sweep over many files teaches nothing, a change of a few teaches each pair both ways', () => {
    expect(pairsOf(Array.from({ length: 21 }, (_, index) => `f${index}`))).toEqual([])
    expect(pairsOf(['b', 'a', 'b'])).toEqual([['a', 'a'], ['a', 'b'], ['b', 'a'], ['b', 'b']])
  })
})

test('a history teaches the pairs that met three times, files before their pairs, and no more than is asked for', () => {
  const changes = [['a', 'b'], ['a', 'b'], ['a', 'b', 'c'], ['a'], ['c'], ['c']]
  expect(frequentPairs(changes, 3)).toEqual([{ path: 'a', other: 'a', together: 4 }, { path: 'b', other: 'b', together: 3 }, { path: 'c', other: 'c', together: 3 }])
  expect(frequentPairs(changes, 99).slice(3)).toEqual([{ path: 'a', other: 'b', together: 3 }, { path: 'b', other: 'a', together: 3 }])
})

describe('an overlap', () => {
  test('is as likely as its likeliest file, and names them in that order', () => {
    expect(overlap({ a: 1, b: 0.5, c: 1 }, { b: 1, a: 0.5, c: 1 })).toEqual({ files: ['c', 'a', 'b'], likelihood: 1 })
    expect(overlap({ a: 1 }, { b: 1 })).toEqual({ files: [], likelihood: 0 })
  })

  test('delays by work for half an hour at most, less when it is less likely, and by a review for five minutes', () => {
    const minutes = (count: number) => count * 60_000
    expect(stillDelays(1, minutes(29), { state: 'in_progress', sinceMs: minutes(29) })).toBe(true)
    expect(stillDelays(1, minutes(30), { state: 'in_progress', sinceMs: minutes(29) })).toBe(false)
    expect(stillDelays(0.6, minutes(18), { state: 'in_progress', sinceMs: 0 })).toBe(false)
    expect(stillDelays(1, minutes(10), { state: 'in_review', sinceMs: REVIEW_PATIENCE_MS - 1 })).toBe(true)
    expect(stillDelays(1, minutes(10), { state: 'in_review', sinceMs: REVIEW_PATIENCE_MS })).toBe(false)
  })

  test('always ends: whatever is predicted, who has waited half an hour is delayed by nothing', () => {
    fc.assert(fc.property(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(), fc.constantFrom('claimed', 'in_progress', 'verifying', 'in_review', 'merging'), (likelihood, sinceMs, state) => {
      expect(stillDelays(likelihood, 30 * 60_000, { state, sinceMs })).toBe(false)
    }))
  })
})
