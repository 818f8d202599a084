import type { Masked } from './mask.ts'

/** A call that declares a test: `it('title', …)`, `test.each(table)('title', …)`, `t.test(title, …)`. Offsets into the text. */
export interface TestCall {
  readonly at: number
  /** After the title: where the body may begin. */
  readonly from: number
  /** The closing parenthesis of the call, or the end of the text. */
  readonly end: number
  readonly name: string
  readonly skipped: boolean
  readonly focused: boolean
}

const WORD = /(?<![\w$.])(x?it|fit|x?test|specify|t\.test|tap\.test|Deno\.test|QUnit\.test|bench)(?=\s*[.(<`])/g
/** A title further away from its parenthesis, or a longer one, is not a title. */
const NEAR = 2_000
/** More tests than this in one file are not told apart. */
const MAX_CALLS = 20_000

/** The tests that a JavaScript text declares with a title in quotes, in the order of their places. */
export function testCalls(text: string, { uncommented, code }: Masked): TestCall[] {
  const calls: TestCall[] = []
  const closes = parentheses(code)
  for (const match of code.matchAll(WORD)) {
    if (calls.length >= MAX_CALLS) break
    const word = match[1] as string
    const chain = chainFrom(code, match.index + match[0].length, closes)
    if (!chain) continue
    const quoteAt = chain.open + 1 + (/^\s*/.exec(uncommented.slice(chain.open + 1, chain.open + 1 + NEAR))?.[0].length ?? 0)
    const quote = uncommented[quoteAt]
    if (quote !== "'" && quote !== '"' && quote !== '`') continue
    const found = code.indexOf(quote, quoteAt + 1)
    const nameEnd = found === -1 || found > quoteAt + NEAR ? quoteAt + 81 : found
    const end = closes.get(chain.open) ?? code.length
    calls.push({
      at: match.index, from: nameEnd, end, name: text.slice(quoteAt + 1, nameEnd),
      skipped: word.startsWith('x') || chain.names.some((name) => /^(?:skip|todo|fails|failing)$/.test(name)) || /\b(?:skip|todo)\s*:\s*(?:true|['"])/.test(uncommented.slice(nameEnd, Math.min(end, nameEnd + 80))),
      focused: word === 'fit' || chain.names.includes('only'),
    })
  }
  return calls
}

/** The body of `calls[index]`, from the brace of its function; what stands in a test inside it is that one's. */
export function bodyOfCall(calls: readonly TestCall[], index: number, { uncommented, code }: Masked): string {
  const call = calls[index] as TestCall
  const opened = /(?:=>|\bfunction\b[^{]{0,500})\s{0,100}\{/.exec(code.slice(call.from, Math.min(call.end, call.from + NEAR)))
  const start = opened ? call.from + opened.index + opened[0].length : call.from
  const end = opened ? Math.max(start, code.lastIndexOf('}', call.end)) : call.end
  const parts: string[] = []
  let until = start
  for (let j = index + 1; j < calls.length && until < end; j++) {
    const inner = calls[j] as TestCall
    if (inner.at >= end) break
    if (inner.at < until) continue
    parts.push(uncommented.slice(until, inner.at))
    until = Math.min(end, inner.end)
  }
  parts.push(uncommented.slice(until, end))
  return parts.join('')
}

/** For each `(` the offset of its `)`. */
function parentheses(code: string): Map<number, number> {
  const closes = new Map<number, number>()
  const open: number[] = []
  for (let i = 0; i < code.length; i++) {
    const char = code.charCodeAt(i)
    if (char === 40) open.push(i)
    else if (char === 41) {
      const at = open.pop()
      if (at !== undefined) closes.set(at, i)
    }
  }
  return closes
}

/** Follows `.each(…)`, `.each<T>(…)`, `.each` with a table in back-ticks and `.only` up to the parenthesis that takes the title. */
function chainFrom(code: string, from: number, closes: ReadonlyMap<number, number>): { open: number; names: string[] } | null {
  const names: string[] = []
  for (let i = from, steps = 0; i < code.length && steps < 100; steps++) {
    const char = code[i] as string
    if (/\s/.test(char)) {
      const next = /^\s+/.exec(code.slice(i, i + NEAR))
      i += next?.[0].length ?? 1
    } else if (char === '.') {
      const name = /^\.\s{0,100}(\w{1,60})/.exec(code.slice(i, i + 200))
      if (!name) return null
      names.push(name[1] as string)
      i += name[0].length
    } else if (char === '<' && names.length > 0) {
      const end = code.indexOf('(', i)
      if (end === -1 || end > i + NEAR) return null
      i = end
    } else if (char === '`' && names.length > 0) {
      const end = code.indexOf('`', i + 1)
      if (end === -1) return null
      i = end + 1
    } else if (char === '(') {
      const close = closes.get(i)
      // What a call gives is called again: it took the table or the condition, and not the title.
      const again = names.length > 0 && close !== undefined && /^\s{0,200}[(.]/.exec(code.slice(close + 1, close + 210))
      if (!again || !/^(?:each|for|skipIf|runIf|if|extend|table|forEach)$/.test(names.at(-1) ?? '')) return { open: i, names }
      i = (close as number) + 1
    } else return null
  }
  return null
}
