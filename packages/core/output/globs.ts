/**
 * Patterns as gitignore(5) writes them: `*`, `?`, `[…]`, `**`, a leading `/` or a middle one anchors at the root, a
 * trailing `/` means a folder, `!` takes back, the last match decides, and what lies in a matching folder matches too
 * (a `!` cannot bring a file back out of a folder that matches).
 */
export interface GlobSet {
  /** Whether the list as a whole matches this path (`/`-separated, from the repository's root). */
  matches(path: string): boolean
}

interface Rule {
  readonly negated: boolean
  readonly folderOnly: boolean
  readonly expression: RegExp
}

/** Compiles a list of patterns; blank ones and comments (`#`) are passed over. */
export function compileGlobs(patterns: readonly string[]): GlobSet {
  const rules = patterns.map(compile).filter((rule) => rule !== null)
  const decide = (path: string, isFolder: boolean): boolean => {
    for (let i = rules.length - 1; i >= 0; i--) {
      const rule = rules[i] as Rule
      if ((!rule.folderOnly || isFolder) && rule.expression.test(path)) return !rule.negated
    }
    return false
  }
  return {
    matches(path) {
      if (rules.length === 0) return false
      for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
        if (decide(path.slice(0, slash), true)) return true
      }
      return decide(path, false)
    },
  }
}

function compile(raw: string): Rule | null {
  let pattern = raw.replace(/\r?\n$/, '')
  // Spaces at the end do not count unless a backslash stands before them.
  pattern = pattern.replace(/^((?:\\.|[^\\])*?) +$/s, '$1')
  if (pattern === '' || pattern.startsWith('#')) return null
  const negated = pattern.startsWith('!')
  if (negated) pattern = pattern.slice(1)
  const folderOnly = pattern.endsWith('/')
  if (folderOnly) pattern = pattern.slice(0, -1)
  const anchored = pattern.includes('/')
  if (pattern.startsWith('/')) pattern = pattern.slice(1)
  if (pattern === '') return null
  const body = translate(pattern)
  if (body === null) return null
  return { negated, folderOnly, expression: new RegExp(`^${anchored ? '' : '(?:.*/)?'}${body}$`, 's') }
}

const CLASSES: Readonly<Record<string, string>> = {
  alpha: 'a-zA-Z', digit: '0-9', alnum: 'a-zA-Z0-9', upper: 'A-Z', lower: 'a-z', space: '\\s', xdigit: '0-9a-fA-F', blank: ' \\t', punct: '!-\\/:-@\\[-`{-~',
}

/** The body of the regular expression; null when the pattern can match nothing (an open bracket, a lone backslash). */
function translate(pattern: string): string | null {
  let out = ''
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i] as string
    if (char === '*') {
      let end = i
      while (pattern[end] === '*') end++
      const wholeSegment = end - i === 2 && (i === 0 || pattern[i - 1] === '/') && (end === pattern.length || pattern[end] === '/')
      if (wholeSegment && pattern[end] === '/') {
        out += '(?:.*/)?'
        i = end
      } else if (wholeSegment) {
        out += i === 0 ? '.*' : '.+'
        i = end - 1
      } else {
        out += '[^/]*'
        i = end - 1
      }
    } else if (char === '?') out += '[^/]'
    else if (char === '[') {
      const close = bracketEnd(pattern, i)
      if (close === -1) return null
      const part = bracket(pattern.slice(i + 1, close))
      if (part === null) return null
      out += part
      i = close
    } else if (char === '\\') {
      i++
      if (i >= pattern.length) return null
      out += escape(pattern[i] as string)
    } else out += escape(char)
  }
  return out
}

function bracketEnd(pattern: string, start: number): number {
  let i = start + 1
  if (pattern[i] === '!' || pattern[i] === '^') i++
  if (pattern[i] === ']') i++
  for (; i < pattern.length; i++) {
    if (pattern[i] === '\\') i++
    else if (pattern[i] === '[' && pattern[i + 1] === ':') {
      const end = pattern.indexOf(':]', i + 2)
      if (end !== -1) i = end + 1
    } else if (pattern[i] === ']') return i
  }
  return -1
}

function bracket(body: string): string | null {
  const negated = body.startsWith('!') || body.startsWith('^')
  const inner = negated ? body.slice(1) : body
  const items: string[] = []
  for (let i = 0; i < inner.length; i++) {
    const named = /^\[:(\w+):\]/.exec(inner.slice(i))
    if (named) {
      const set = CLASSES[named[1] as string]
      if (set === undefined) return null
      items.push(set)
      i += named[0].length - 1
      continue
    }
    const [from, at] = bracketChar(inner, i)
    i = at
    if (inner[i + 1] === '-' && i + 2 < inner.length) {
      const [to, end] = bracketChar(inner, i + 2)
      i = end
      if (from <= to) items.push(`${escapeInBracket(from)}-${escapeInBracket(to)}`)
    } else items.push(escapeInBracket(from))
  }
  if (items.length === 0) return negated ? '[^/]' : '(?!)'
  return `(?!/)[${negated ? '^' : ''}${items.join('')}]`
}

function bracketChar(text: string, at: number): [string, number] {
  return text[at] === '\\' && at + 1 < text.length ? [text[at + 1] as string, at + 1] : [text[at] as string, at]
}

function escape(char: string): string {
  return /[\\^$.*+?()[\]{}|/-]/.test(char) ? `\\${char}` : char
}

function escapeInBracket(char: string): string {
  return /[\\\]^[-]/.test(char) ? `\\${char}` : char
}
