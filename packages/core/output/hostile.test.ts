import { expect, test } from 'vitest'
import type { FileVersion } from './change.ts'
import { gate } from './gate.ts'

const MEGABYTE = 1_000_000
const fill = (part: string) => part.repeat(Math.ceil(MEGABYTE / part.length)).slice(0, MEGABYTE)
const version = (text: string): FileVersion => ({ mode: '100644', sizeBytes: text.length, binary: false, text })

/** One line, or one body, of a megabyte: each made to lead some pattern astray. */
const HOSTILE = ['\t', ' ', 'a', '(', '{', "it('a',", 'test.each(', 'function a(', 'function abcd() {\n', "test('a', () => {\n", 'def test_a():\n', 'a a(\n', 'expect(a).', "'", '`${', '=/[', '...', '... rest of the ', '@Test(a) void ', '#[test]\n', 'public static ', 'api_key = ', 'https://a:b', '\n', '((((a|', '<<<<<<< a\n']
const PATHS = ['test/a.test.js', 'tests/test_a.py', 'a_test.go', 'tests/a.rs', 'src/test/ATest.java', 'a.c', 'a.md']

test.each(PATHS)('a megabyte made to lead patterns astray is judged in seconds in %s', (path) => {
  for (const part of HOSTILE) {
    const text = fill(part)
    const started = performance.now()
    gate({ files: [{ status: 'modified', path, oldPath: path, before: version('a = 1\n'), after: version(text) }], fromNothing: false, baseFolders: new Set() })
    // Quadratic work on a megabyte takes minutes: the bound is far from both.
    expect(performance.now() - started, JSON.stringify(part)).toBeLessThan(15_000)
  }
}, 300_000)
