import type { ChangeSet, FileChange } from './change.ts'
import { definitionsIn, type Definition } from './definitions.ts'
import { compileGlobs, type GlobSet } from './globs.ts'
import { diffLines, linesOf, type Line } from './lines.ts'
import { maskText, type Masked } from './mask.ts'
import { isCode, isFixturePath, isGeneratedPath, isGeneratedText, isProse, isTestPath, languageOf, type Language } from './paths.ts'
import { groupMarks, testsIn, type GroupMark, type TestCase } from './tests.ts'

/** One side of a code file, read. */
export interface CodeSide {
  readonly masked: Masked
  readonly definitions: readonly Definition[]
  readonly tests: readonly TestCase[]
  readonly groupMarks: readonly GroupMark[]
}

/** A file of the change with what the rules ask of it, worked out once. */
export interface FileView {
  readonly file: FileChange
  readonly path: string
  readonly language: Language | null
  readonly isTest: boolean
  readonly isFixture: boolean
  /** By its path, its first lines, or the caller's `generated` patterns. */
  readonly isGenerated: boolean
  readonly removed: readonly Line[]
  readonly added: readonly Line[]
  /** The same text but for white space, quotes, commas and semicolons. */
  readonly onlyReformatted: boolean
  readonly before: CodeSide | null
  readonly after: CodeSide | null
}

/** The whole change with what is only known of the whole. */
export interface ChangeView {
  readonly change: ChangeSet
  readonly files: readonly FileView[]
  /** How often each squeezed line was added anywhere: where removed lines went. */
  readonly addedLines: ReadonlyMap<string, number>
  /** How many more of each word the change has now, by file and in all. */
  readonly wordsGained: { readonly total: ReadonlyMap<string, number>; readonly byPath: ReadonlyMap<string, ReadonlyMap<string, number>> }
  readonly options: GateOptions
}

export interface GateOptions {
  /** Files that the change may touch (gitignore globs); none given means any. */
  readonly scope?: readonly string[]
  /** Files that it may not touch without approval, beside the built-in ones. */
  readonly protect?: readonly string[]
  /** Files that a program writes: their size and shape are not judged. */
  readonly generated?: readonly string[]
  /** Names and paths still used by the head although the change took them away, found by the caller (`lostNamesOf`). */
  readonly dangling?: readonly Dangling[]
}

/** A use, in the head, of a name or a file that the change took away. */
export interface Dangling {
  readonly name: string
  /** The file that defined it in the base (or that was deleted). */
  readonly from: string
  readonly usedIn: string
  readonly line: number
  /** An import of the lost thing from its own file cannot be a coincidence; a bare word can. */
  readonly certain: boolean
}

export function viewChange(change: ChangeSet, options: GateOptions): ChangeView {
  const generated = compileGlobs(options.generated ?? [])
  const files = change.files.map((file) => viewFile(file, generated))
  const addedLines = new Map<string, number>()
  const total = new Map<string, number>()
  const byPath = new Map<string, Map<string, number>>()
  for (const view of files) {
    for (const { text } of view.added) {
      const key = squeeze(text)
      if (key !== '') addedLines.set(key, (addedLines.get(key) ?? 0) + 1)
    }
    const balance = new Map<string, number>()
    for (const { text } of view.added) for (const word of wordsOf(text)) balance.set(word, (balance.get(word) ?? 0) + 1)
    for (const { text } of view.removed) for (const word of wordsOf(text)) balance.set(word, (balance.get(word) ?? 0) - 1)
    for (const [word, count] of balance) {
      if (count > 0) total.set(word, (total.get(word) ?? 0) + count)
      else balance.delete(word)
    }
    byPath.set(view.path, balance)
  }
  return { change, files, addedLines, wordsGained: { total, byPath }, options }
}

function viewFile(file: FileChange, generated: GlobSet): FileView {
  const path = file.path
  const before = file.before?.text ?? null
  const after = file.after?.text ?? null
  const { removed, added } = before === after ? { removed: [], added: [] } : diffLines(linesOf(before ?? ''), linesOf(after ?? ''))
  const cut = (lines: readonly Line[]) => lines.map((each) => (each.text.length > MAX_LINE ? { line: each.line, text: each.text.slice(0, MAX_LINE) } : each))
  const language = languageOf(path)
  const generatedHere = generated.matches(path) || isGeneratedPath(path) || (!isProse(path) && isGeneratedText(before ?? after ?? ''))
  const side = (raw: string | null, of: Language | null, sidePath: string): CodeSide | null => {
    if (raw === null || of === null || file.before?.mode === '120000' || file.after?.mode === '120000') return null
    const text = readable(raw)
    if (text === null) return null
    const masked = maskText(text, of)
    const code = isCode(sidePath)
    return { masked, definitions: code ? definitionsIn(masked.code, of) : [], tests: code ? testsIn(text, masked, of) : [], groupMarks: code ? groupMarks(text, masked, of) : [] }
  }
  return {
    file, path, language,
    isTest: isTestPath(path) || isTestPath(file.oldPath),
    isFixture: isFixturePath(path),
    isGenerated: generatedHere,
    removed: cut(removed), added: cut(added),
    onlyReformatted: before !== null && after !== null && squeeze(before) === squeeze(after) && squeeze(after) !== '',
    before: side(before, languageOf(file.oldPath), file.oldPath),
    after: side(after, language, path),
  }
}

const MAX_LINE = 2_000
const MAX_CODE = 1_000_000

/**
 * What of a text is looked through for functions and tests: lines without the ends that nobody reads, so that no pattern
 * has to walk a megabyte again and again. Null for what is no code at all: too long, or the same few lines over and over.
 */
function readable(text: string): string | null {
  if (text.length > MAX_CODE) return null
  const lines = text.split('\n')
  if (lines.length > 2_000) {
    const distinct = new Set(lines.map((line) => line.trim()))
    if (distinct.size < lines.length / 50) return null
  }
  return lines.some((line) => line.length > MAX_LINE) ? lines.map((line) => (line.length > MAX_LINE ? line.slice(0, MAX_LINE) : line)).join('\n') : text
}

/** A text without what a formatter may change. */
export function squeeze(text: string): string {
  return text.replace(/[\s;,]+/g, '').replace(/['`]/g, '"').replace(/[()]/g, '')
}

export function wordsOf(text: string): string[] {
  return text.match(/[A-Za-z_$][\w$]*|\d+/g) ?? []
}

/**
 * The part of the words of a file's old version (from 0 to 1) that the change kept: in its new version, or in lines that
 * it added elsewhere. 1 for an untouched or moved file, 0 for one whose content is gone.
 */
export function keptShare(view: FileView, whole: ChangeView): number {
  const before = wordsOf(view.file.before?.text ?? '')
  if (before.length === 0) return 1
  const now = new Map<string, number>()
  for (const word of wordsOf(view.file.after?.text ?? '')) now.set(word, (now.get(word) ?? 0) + 1)
  const elsewhere = new Map(whole.wordsGained.total)
  for (const [word, count] of whole.wordsGained.byPath.get(view.path) ?? []) elsewhere.set(word, (elsewhere.get(word) ?? 0) - count)
  let kept = 0
  for (const word of before) {
    for (const pool of [now, elsewhere]) {
      const count = pool.get(word) ?? 0
      if (count > 0) {
        pool.set(word, count - 1)
        kept++
        break
      }
    }
  }
  return kept / before.length
}

/** Removed lines of substance (not blank, not mere brackets or comments) that no line added anywhere repeats. */
export function lostLines(view: FileView, whole: ChangeView): Line[] {
  const pool = new Map(whole.addedLines)
  return view.removed.filter(({ text }) => {
    const key = squeeze(text)
    if (!/\w/.test(key) || (!isProse(view.path) && /^\s*(?:\/\/|#(?!include|define)|\*|\/\*|--\s|<!--)/.test(text))) return false
    const count = pool.get(key) ?? 0
    if (count === 0) return true
    pool.set(key, count - 1)
    return false
  })
}
