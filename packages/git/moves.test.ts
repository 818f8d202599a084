import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { movedLines } from '@swarm/core/review/positions.ts'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fileMoves, hunksBetween } from './moves.ts'
import { git } from './run.ts'

let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'swarm-moves-'))
  await git(folder, ['init', '-q', '--bare'])
})
afterAll(() => { rmSync(folder, { recursive: true, force: true }) })

const blob = async (text: string): Promise<string> => (await git(folder, ['hash-object', '-w', '--stdin'], { input: text })).stdout.trim()
const tree = async (files: Readonly<Record<string, string>>): Promise<string> => {
  const entries = await Promise.all(Object.entries(files).map(async ([name, text]) => `100644 blob ${await blob(text)}\t${name}\n`))
  return (await git(folder, ['mktree'], { input: entries.join('') })).stdout.trim()
}
const textOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('')

test('lines that are found again are the same lines, together; and what lies outside of every change is always found', async () => {
  const line = fc.constantFrom('a', 'b', 'c', '}', '')
  const edit = fc.record({ at: fc.nat(30), removed: fc.nat(3), added: fc.array(line, { maxLength: 3 }) })
  await fc.assert(fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 25 }), fc.array(edit, { maxLength: 3 }), fc.nat(), fc.nat(4), async (before, edits, from, length) => {
    const after = [...before]
    for (const { at, removed, added } of edits) after.splice(at % (after.length + 1), removed, ...added)
    const startLine = 1 + from % before.length
    const range = { startLine, line: Math.min(before.length, startLine + length) }
    const hunks = await hunksBetween(folder, await blob(textOf(before)), await blob(textOf(after)))
    if (hunks === null) throw new Error('git sees no text')
    const moved = movedLines(hunks, range)
    if (moved) expect(after.slice(moved.startLine - 1, moved.line)).toEqual(before.slice(range.startLine - 1, range.line))
    else expect(hunks.some(({ oldStart, oldLines }) => (oldLines === 0 ? oldStart >= range.startLine && oldStart < range.line : oldStart <= range.line && oldStart + oldLines - 1 >= range.startLine))).toBe(true)
  }), { numRuns: 60 })
})

test('files are followed through renames; what is gone, changed and no text is told apart, and what is the same is left out', async () => {
  const long = textOf(Array.from({ length: 20 }, (_, n) => `line ${n}`))
  const before = await tree({ 'kept.txt': 'k\n', 'a b.txt': long, 'gone.txt': 'g\n', 'bin': 'x\0y' })
  const after = await tree({ 'kept.txt': 'k\n', 'ä.txt': `${long}more\n`, 'new.txt': 'n\n', 'bin': 'x\0z' })
  const moves = await fileMoves(folder, before, after)
  expect(new Map([...moves].map(([path, move]) => [path, move.path]))).toEqual(new Map([['a b.txt', 'ä.txt'], ['gone.txt', null], ['bin', 'bin']]))
  const [text, binary] = [moves.get('a b.txt')!, moves.get('bin')!]
  expect(await hunksBetween(folder, text.oldId, text.newId)).toEqual([{ oldStart: 20, oldLines: 0, newLines: 1 }])
  expect(await hunksBetween(folder, binary.oldId, binary.newId)).toBeNull()
})
