import type { Language } from './paths.ts'

export interface Definition {
  readonly name: string
  /** Counted from 1. */
  readonly line: number
  /** Code lines of its body (comments and blank lines left out), one string each, trimmed. */
  readonly body: readonly string[]
  /** Whether it stands at the outermost level of its file, so that others may refer to it by its bare name. */
  readonly topLevel: boolean
  readonly kind: 'function' | 'type' | 'value'
}

const MAX_DEFINITIONS = 20_000
const MAX_NESTING = 10
const NAME = '([A-Za-z_$][\\w$]*)'
const PATTERNS: Readonly<Partial<Record<Language, readonly (readonly [RegExp, Definition['kind']])[]>>> = {
  js: [
    [new RegExp(`^[ \\t]*(?:export\\s+)?(?:default\\s+)?(?:async\\s+)?function\\s*\\*?\\s*${NAME}\\s*[(<]`, 'gm'), 'function'],
    [new RegExp(`^[ \\t]*(?:export\\s+)?(?:default\\s+)?(?:abstract\\s+)?(?:class|interface|enum)\\s+${NAME}`, 'gm'), 'type'],
    [new RegExp(`^[ \\t]*(?:export\\s+)?(?:const|let|var)\\s+${NAME}\\s*(?::[^=\\n]+)?=\\s*(?:async\\s*)?(?:function\\b|\\([^\\n]*=>|\\w+\\s*=>|\\([^)\\n]*$)`, 'gm'), 'function'],
    [new RegExp(`^(?:export\\s+)?(?:const|let|var)\\s+${NAME}\\b`, 'gm'), 'value'],
    [new RegExp(`^(?:export\\s+)type\\s+${NAME}\\b`, 'gm'), 'value'],
    [new RegExp(`^[ \\t]+(?:(?:public|private|protected|static|async|override|get|set)\\s+)*\\*?#?${NAME}\\s*\\([^;\\n]*\\)\\s*(?::[^;{\\n]+)?\\{[ \\t]*$`, 'gm'), 'function'],
  ],
  python: [
    [new RegExp(`^[ \\t]*(?:async\\s+)?def\\s+${NAME}\\s*\\(`, 'gm'), 'function'],
    [new RegExp(`^[ \\t]*class\\s+${NAME}\\b`, 'gm'), 'type'],
    [/^([A-Za-z_]\w*)\s*(?::[^=\n]+)?=(?!=)/gm, 'value'],
  ],
  go: [
    [/^func\s+(?:\([^)]*\)\s*)?([A-Za-z_]\w*)\s*[([]/gm, 'function'],
    [/^type\s+([A-Za-z_]\w*)\b/gm, 'type'],
    [/^(?:var|const)\s+([A-Za-z_]\w*)\b/gm, 'value'],
  ],
  rust: [
    [/^[ \t]*(?:pub(?:\([^)]*\))?\s+)?(?:default\s+)?(?:const\s+)?(?:async\s+)?(?:unsafe\s+)?(?:extern\s+"[^"]*"\s+)?fn\s+(\w+)/gm, 'function'],
    [/^[ \t]*(?:pub(?:\([^)]*\))?\s+)?(?:struct|enum|trait|union|type)\s+(\w+)/gm, 'type'],
    [/^(?:pub(?:\([^)]*\))?\s+)?(?:const|static)\s+(\w+)/gm, 'value'],
    [/^[ \t]*macro_rules!\s+(\w+)/gm, 'function'],
  ],
  java: [
    [/^[ \t]*(?:(?:public|private|protected|static|final|abstract|sealed|data|open|internal)\s+)*(?:class|interface|enum|record|object)\s+(\w+)/gm, 'type'],
    [/^[ \t]*(?:(?:public|private|protected|static|final|abstract|synchronized|override|suspend|inline|open|internal|default)\s+)*(?:fun\s+(?:<[^>]*>\s*)?(?:\w+\.)?|(?:def\s+)|(?:[\w<>[\],.?]+[ \t]+){1,6})(\w+)\s*\([^;\n]*$/gm, 'function'],
  ],
  c: [
    [/^[A-Za-z_][\w \t*&:<>,~]{0,200}?(?:\r?\n)?[\s*&]((?:\w+::)?~?\w+)\s*\([^;{]{0,1000}?\)\s*(?:const\s*)?(?:noexcept\s*)?\{/gm, 'function'],
    [/^(?:typedef\s+)?(?:struct|class|enum(?:\s+class)?|union)\s+(\w+)[^;{]{0,500}\{/gm, 'type'],
    [/^#\s*define\s+(\w+)/gm, 'value'],
  ],
  ruby: [[/^[ \t]*def\s+(?:self\.)?(\w+[?!]?)/gm, 'function'], [/^[ \t]*(?:class|module)\s+(\w+)/gm, 'type']],
  php: [[/^[ \t]*(?:(?:public|private|protected|static|final|abstract)\s+)*function\s+&?(\w+)/gm, 'function'], [/^[ \t]*(?:final\s+|abstract\s+)?(?:class|interface|trait|enum)\s+(\w+)/gm, 'type']],
  csharp: [[/^[ \t]*(?:(?:public|private|protected|internal|static|sealed|abstract|partial)\s+)*(?:class|interface|struct|enum|record)\s+(\w+)/gm, 'type'], [/^[ \t]*(?:(?:public|private|protected|internal|static|virtual|override|async|sealed)\s+){1,8}(?:[\w<>[\],.?]+[ \t]+){1,6}(\w+)\s*\([^;\n]*$/gm, 'function']],
  swift: [[/^[ \t]*(?:(?:public|private|internal|fileprivate|open|static|final|override|mutating|class)\s+)*func\s+(\w+)/gm, 'function'], [/^[ \t]*(?:(?:public|private|internal|open|final)\s+)*(?:class|struct|enum|protocol|actor)\s+(\w+)/gm, 'type']],
  shell: [[/^(?:function\s+)?(\w[\w-]*)\s*\(\)\s*\{?/gm, 'function']],
}

const KEYWORDS = new Set(['if', 'for', 'while', 'switch', 'catch', 'return', 'function', 'else', 'do', 'try', 'new', 'throw', 'with', 'match', 'loop', 'when', 'using', 'lock', 'sizeof', 'constructor', 'main', 'init', '_', 'default'])

/** What a masked text (`maskText(…).code`) defines: functions, types and outermost values, with their bodies. */
export function definitionsIn(code: string, language: Language): Definition[] {
  const found = new Map<string, Definition>()
  const starts = lineStarts(code)
  // Bodies may hold bodies, but not without end: together they may be as long as so many texts.
  let budget = code.length * MAX_NESTING + 10_000
  for (const [pattern, kind] of PATTERNS[language] ?? []) {
    for (const match of code.matchAll(pattern)) {
      const name = match[1]
      if (name === undefined || KEYWORDS.has(name)) continue
      const nameAt = match.index + match[0].lastIndexOf(name)
      const line = lineNumber(starts, nameAt)
      const key = `${line}:${name}`
      if (found.has(key)) continue
      if (found.size >= MAX_DEFINITIONS || budget <= 0) break
      // A method of Go stands at the outermost level, yet nobody calls it by its bare name.
      const indented = (language === 'go' && /^func\s*\(/.test(match[0])) || /^[ \t]/.test(code.slice(starts[line - 1] as number, nameAt))
      const body = kind === 'value' ? [] : bodyOf(code, match.index + match[0].length, line, starts, language)
      for (const row of body) budget -= row.length + 1
      found.set(key, { name, line, topLevel: !indented, kind, body })
    }
  }
  return [...found.values()].sort((a, b) => a.line - b.line)
}

export function lineStarts(text: string): number[] {
  const starts = [0]
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return starts
}

/** The line (from 1) of an offset, by the offsets at which lines start. */
export function lineNumber(starts: readonly number[], offset: number): number {
  let low = 0
  let high = starts.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((starts[middle] as number) <= offset) low = middle
    else high = middle - 1
  }
  return low + 1
}

function bodyOf(code: string, from: number, line: number, starts: readonly number[], language: Language): string[] {
  if (language === 'python' || language === 'ruby') return indentedBody(code, line, starts)
  const end = blockEnd(code, Math.max(0, from - 1))
  // A function without a block: its expression is its body.
  if (end === null) return significant(code.slice(from - 1, code.indexOf('\n', from) === -1 ? code.length : code.indexOf('\n', from)))
  return significant(code.slice(end.open + 1, end.close))
}

/** The next `{…}` at or after `from`, unless a `;` outside brackets comes first. */
export function blockEnd(code: string, from: number): { open: number; close: number } | null {
  let round = 0
  for (let i = from; i < code.length && i < from + 3_000; i++) {
    const char = code[i]
    if (char === '(' || char === '[') round++
    else if (char === ')' || char === ']') round--
    else if (char === ';' && round <= 0) return null
    else if (char === '{' && round <= 0) {
      let depth = 0
      for (let j = i; j < code.length; j++) {
        if (code[j] === '{') depth++
        else if (code[j] === '}' && --depth === 0) return { open: i, close: j }
      }
      return { open: i, close: code.length }
    }
  }
  return null
}

/** The lines below `line` that are indented more than it is. */
export function indentedBody(code: string, line: number, starts: readonly number[]): string[] {
  const textOf = (n: number) => code.slice(starts[n - 1] as number, (starts[n] ?? code.length + 1) - 1)
  const indent = /^[ \t]*/.exec(textOf(line))?.[0].length ?? 0
  const body: string[] = []
  // A signature may run over several lines: it ends at the first colon outside brackets.
  let depth = 0
  let at = starts[line - 1] as number
  for (; at < code.length; at++) {
    const char = code[at] as string
    if ('([{'.includes(char)) depth++
    else if (')]}'.includes(char)) depth--
    else if (char === ':' && depth === 0) break
    else if (char === '\n' && depth === 0) break
  }
  const header = lineNumber(starts, Math.min(at, code.length))
  const inline = code.slice(at + 1, (starts[header] ?? code.length + 1) - 1).trim()
  if (code[at] === ':' && inline !== '') body.push(inline)
  for (let n = header + 1; n <= starts.length; n++) {
    const text = textOf(n)
    if (text.trim() === '') continue
    if ((/^[ \t]*/.exec(text)?.[0].length ?? 0) <= indent) break
    body.push(text.trim())
  }
  return body
}

function significant(text: string): string[] {
  return text.split('\n').map((line) => line.trim()).filter((line) => line !== '')
}
