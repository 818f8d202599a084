import type { Language } from './paths.ts'

/** A text with the same length and line ends, in which comments and the insides of strings are spaces. */
export interface Masked {
  /** Comments and string contents blanked. */
  readonly code: string
  /** Only comments blanked. */
  readonly uncommented: string
  /** A string or a block comment runs to the end of the text. */
  readonly unterminated: { readonly line: number; readonly what: string } | null
}

interface Syntax {
  readonly line: readonly string[]
  readonly block: readonly (readonly [string, string])[]
  /** Quotes whose strings end with the line unless escaped. */
  readonly quotes: string
  /** Strings over several lines: opening → closing; `raw` ones know no escape. */
  readonly long: readonly { readonly open: string; readonly close: string; readonly raw: boolean }[]
}

const C_LIKE: Syntax = { line: ['//'], block: [['/*', '*/']], quotes: `"'`, long: [] }
const SYNTAX: Readonly<Record<Language, Syntax>> = {
  js: { ...C_LIKE, long: [{ open: '`', close: '`', raw: false }] },
  go: { ...C_LIKE, long: [{ open: '`', close: '`', raw: true }] },
  python: { line: ['#'], block: [], quotes: `"'`, long: [{ open: '"""', close: '"""', raw: false }, { open: "'''", close: "'''", raw: false }] },
  rust: { ...C_LIKE, quotes: '', long: [{ open: '"', close: '"', raw: false }] },
  java: { ...C_LIKE, long: [{ open: '"""', close: '"""', raw: false }] },
  c: C_LIKE,
  csharp: { ...C_LIKE, long: [{ open: '"""', close: '"""', raw: true }, { open: '@"', close: '"', raw: true }] },
  swift: { ...C_LIKE, quotes: '"', long: [{ open: '"""', close: '"""', raw: false }] },
  php: { line: ['//', '#'], block: [['/*', '*/']], quotes: '', long: [{ open: '"', close: '"', raw: false }, { open: "'", close: "'", raw: false }] },
  ruby: { line: ['#'], block: [], quotes: `"'`, long: [] },
  shell: { line: ['#'], block: [], quotes: '', long: [{ open: '"', close: '"', raw: false }, { open: "'", close: "'", raw: true }] },
  css: { line: [], block: [['/*', '*/']], quotes: `"'`, long: [] },
  html: { line: [], block: [['<!--', '-->']], quotes: '', long: [] },
  sql: { line: ['--'], block: [['/*', '*/']], quotes: `"'`, long: [] },
}

const BLANKED = /[^\n]/g
const blank = (text: string) => text.replace(BLANKED, ' ')

/** Blanks comments and strings of `text`. Not a lexer in every corner, but it never changes a line's number. */
export function maskText(text: string, language: Language): Masked {
  const syntax = SYNTAX[language]
  const code: string[] = []
  const uncommented: string[] = []
  let unterminated: Masked['unterminated'] = null
  let plainFrom = 0
  let i = 0
  let lastSignificant = ''
  const lineAt = (at: number) => text.slice(0, at).split('\n').length
  const take = (to: number, kind: 'comment' | 'string', open: number, close: number) => {
    const before = text.slice(plainFrom, i)
    const part = text.slice(i, to)
    code.push(before, kind === 'comment' ? blank(part) : part.slice(0, open) + blank(part.slice(open, part.length - close)) + part.slice(part.length - close))
    uncommented.push(before, kind === 'comment' ? blank(part) : part)
    i = to
    plainFrom = to
    if (kind === 'string') lastSignificant = '"'
  }
  const lineEnd = (from: number) => {
    const end = text.indexOf('\n', from)
    return end === -1 ? text.length : end
  }
  outer: while (i < text.length) {
    const char = text[i] as string
    if (char === ' ' || char === '\n' || char === '\t' || char === '\r') {
      i++
      continue
    }
    for (const mark of syntax.line) {
      if (text.startsWith(mark, i) && !((language === 'shell' || language === 'php') && mark === '#' && i > 0 && !/\s/.test(text[i - 1] as string))) {
        take(lineEnd(i), 'comment', 0, 0)
        continue outer
      }
    }
    for (const [open, close] of syntax.block) {
      if (!text.startsWith(open, i)) continue
      const end = text.indexOf(close, i + open.length)
      if (end === -1) unterminated ??= { line: lineAt(i), what: 'comment' }
      take(end === -1 ? text.length : end + close.length, 'comment', 0, 0)
      continue outer
    }
    if (language === 'rust') {
      const raw = char === 'r' || char === 'b' ? /^b?r(#*)"/.exec(text.slice(i, i + 20)) : null
      if (raw && !/\w/.test(text[i - 1] ?? ' ')) {
        const close = `"${raw[1]}`
        const end = text.indexOf(close, i + raw[0].length)
        if (end === -1) unterminated ??= { line: lineAt(i), what: 'string' }
        take(end === -1 ? text.length : end + close.length, 'string', raw[0].length, end === -1 ? 0 : close.length)
        continue
      }
      const literal = char === "'" ? /^'(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^\\'\n])'/u.exec(text.slice(i, i + 14)) : null
      if (literal) {
        take(i + literal[0].length, 'string', 1, 1)
        continue
      }
    }
    for (const { open, close, raw } of syntax.long) {
      if (!text.startsWith(open, i)) continue
      const end = stringEnd(text, i + open.length, close, raw, false, language === 'js')
      if (end === -1) unterminated ??= { line: lineAt(i), what: 'string' }
      take(end === -1 ? text.length : end + close.length, 'string', open.length, end === -1 ? 0 : close.length)
      continue outer
    }
    if (syntax.quotes.includes(char) && !(char === "'" && language === 'c' && /[0-9a-fA-F]/.test(text[i - 1] ?? ''))) {
      const end = stringEnd(text, i + 1, char, false, true, false)
      take(end === -1 ? lineEnd(i) : end + 1, 'string', 1, end === -1 ? 0 : 1)
      continue
    }
    if (language === 'js' && char === '/' && (lastSignificant === '' || '(,=:[!&|?{};+-*%~^<>'.includes(lastSignificant) || /\b(?:return|typeof|case|in|of|do|else|yield|await|void|delete)\s*$/.test(text.slice(Math.max(0, i - 12), i)))) {
      const expression = /^\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/.exec(text.slice(i, i + 2_000))
      if (expression) {
        take(i + expression[0].length, 'string', 1, 1)
        continue
      }
    }
    if (language === 'php' && text.startsWith('?>', i)) {
      const end = text.indexOf('<?', i)
      take(end === -1 ? text.length : end, 'comment', 0, 0)
      continue
    }
    lastSignificant = char
    i++
  }
  code.push(text.slice(plainFrom))
  uncommented.push(text.slice(plainFrom))
  return { code: code.join(''), uncommented: uncommented.join(''), unterminated }
}

const TOO_DEEP = -2

/** Where the closing mark stands, or -1. In JavaScript's templates `${…}` may hold further strings and templates. */
function stringEnd(text: string, from: number, close: string, raw: boolean, oneLine: boolean, template: boolean, level = 0): number {
  // Nobody nests templates this deep: the whole of it counts as not closed, and no level looks again.
  if (level > 20) return TOO_DEEP
  for (let i = from; i < text.length; i++) {
    const char = text[i] as string
    if (!raw && char === '\\') i++
    else if (oneLine && char === '\n') return -1
    else if (text.startsWith(close, i)) return i
    else if (template && char === '$' && text[i + 1] === '{') {
      let depth = 1
      let j = i + 2
      for (; j < text.length && depth > 0; j++) {
        const inner = text[j] as string
        if (inner === '{') depth++
        else if (inner === '}') depth--
        else if (inner === '\\') j++
        else if (inner === '`' || inner === '"' || inner === "'") {
          const end = stringEnd(text, j + 1, inner, false, inner !== '`', inner === '`', level + 1)
          if (end === TOO_DEEP) return level === 0 ? -1 : TOO_DEEP
          if (end === -1) break
          j = end
        }
      }
      i = j - 1
    }
  }
  return -1
}

/** The first bracket that does not fit, if any: `{` without `}`, or the other way round. */
export function unbalancedBracket(code: string): { line: number; bracket: string } | null {
  const open: { bracket: string; line: number }[] = []
  const partner: Readonly<Record<string, string>> = { ')': '(', ']': '[', '}': '{' }
  let line = 1
  for (const char of code) {
    if (char === '\n') line++
    else if (char === '(' || char === '[' || char === '{') open.push({ bracket: char, line })
    else if (char === ')' || char === ']' || char === '}') {
      const last = open.pop()
      if (last?.bracket !== partner[char]) return { line, bracket: char }
    }
  }
  const left = open.pop()
  return left ? { line: left.line, bracket: left.bracket } : null
}
