import { blockEnd, indentedBody, lineNumber, lineStarts } from './definitions.ts'
import { bodyOfCall, testCalls } from './js-tests.ts'
import type { Masked } from './mask.ts'
import type { Language } from './paths.ts'

/** How much an assertion says: `strict` compares with something, `loose` only asks for presence or truth, `trivial` cannot fail. */
export type Strength = 'strict' | 'loose' | 'trivial'

export interface Assertion {
  readonly strength: Strength
  readonly text: string
}

export interface TestCase {
  readonly name: string
  /** Counted from 1. */
  readonly line: number
  /** Unconditionally not run. */
  readonly skipped: boolean
  /** Only this one is run (`.only`, `fit`). */
  readonly focused: boolean
  /** Its first statement leaves it. */
  readonly leftAtOnce: boolean
  readonly assertions: readonly Assertion[]
  /** Its lines without comments, trimmed. */
  readonly body: readonly string[]
}

const GROUP = /(?<![\w$.])(x|f)?(?:describe|context|suite)((?:\.\w+)*)\s*\(/g

interface Extra {
  readonly skipped?: boolean
  readonly focused?: boolean
}

/** The tests that a file holds. `text` is the original, `masked` the same text through `maskText`. */
export function testsIn(text: string, masked: Masked, language: Language): TestCase[] {
  const starts = lineStarts(text)
  const { uncommented, code } = masked
  const found: TestCase[] = []
  // Tests in tests share their lines; beyond this they are no tests that a person wrote.
  let budget = text.length * 10 + 10_000
  const push = (at: number, name: string, bodyText: string, extra: Extra) => {
    budget -= bodyText.length
    if (budget <= 0) return
    const body = bodyText.split('\n').map((line) => line.trim()).filter((line) => line !== '')
    found.push({
      name,
      line: lineNumber(starts, at),
      skipped: extra.skipped === true || skipsItself(body, language),
      focused: extra.focused === true,
      leftAtOnce: /^(?:return;?|return\s+(?:None|null|undefined|nil);?)$/.test(body[0] ?? '') && body.length > 1,
      assertions: assertionsIn(body, language),
      body,
    })
  }
  if (language === 'js') {
    const calls = testCalls(text, masked)
    for (const [i, call] of calls.entries()) if (budget > 0) push(call.at, call.name, bodyOfCall(calls, i, masked), call)
    return found
  }
  if (language === 'python') {
    for (const match of code.matchAll(/^([ \t]*)(?:async\s+)?def\s+(test\w*)\s*\(/gm)) {
      if (budget <= 0) break
      const line = lineNumber(starts, match.index)
      push(match.index, match[2] as string, indentedBody(uncommented, line, starts).join('\n'), { skipped: pythonSkip(uncommented, line, starts) })
    }
    return found
  }
  const patterns: Partial<Record<Language, RegExp>> = {
    go: /^func\s+((?:Test(?!Main\b)|Fuzz|Example)\w*)\s*\(/gm,
    rust: /#\[(?:\w+::)*(?:test|rstest|test_case|quickcheck)(?:\([^\]]{0,500}\))?\][^{;]{0,500}?\bfn\s+(\w+)/g,
    java: /@(?:Test|ParameterizedTest|RepeatedTest)\b(?:\([^)]{0,500}\))?[^{;]{0,500}?\b(?:void|fun|def)\s+(?:`([^`]+)`|(\w+))\s*\(/g,
    csharp: /\[(?:Fact|Theory|Test|TestMethod|TestCase)\b[^{;]{0,500}?\s(\w+)\s*\(/g,
    c: /^[ \t]*(?:TEST|TEST_F|TEST_P|TYPED_TEST|TEST_CASE|SCENARIO|BOOST_AUTO_TEST_CASE|DOCTEST_TEST_CASE|START_TEST|CTEST|Test|UTEST|BENCHMARK_TEST)\s*\(([^)]*)\)\s*\{?|^(?:static\s+)?(?:void|int|bool)\s+(test_?\w+)\s*\([^;)]*\)\s*\{/gm,
    php: /function\s+(test\w*)\s*\(/g,
    swift: /func\s+(test\w*)\s*\(/g,
    ruby: /^[ \t]*(?:(x?it|xspecify|specify|test)\s+(['"])|def\s+(test_\w+))/gm,
    shell: /^(?:@test\s+(.+)\{|(test_\w+)\s*\(\))/gm,
  }
  const pattern = patterns[language]
  if (!pattern) return found
  for (const match of (language === 'c' || language === 'ruby' || language === 'shell' ? uncommented : code).matchAll(pattern)) {
    if (budget <= 0) break
    if (language === 'ruby') {
      const line = lineNumber(starts, match.index + match[0].length - 1)
      const lineText = text.slice(match.index, (starts[line] ?? text.length + 1) - 1).trim()
      push(match.index + match[0].length - 1, match[3] ?? lineText.replace(/^x(?=it)/, ''), indentedBody(uncommented, line, starts).join('\n'), { skipped: match[1]?.startsWith('x') === true })
      continue
    }
    const name = match[1] ?? match[2] ?? ''
    const end = blockEnd(code, match.index + match[0].length - (match[0].endsWith('{') ? 1 : 0))
    const bodyText = end ? uncommented.slice(end.open + 1, end.close) : ''
    push(match.index, name.replace(/\bDISABLED_/g, '').replace(/\s+/g, ' '), bodyText, { skipped: attributeSkip(uncommented, match.index, match[0], starts, language) || /\bDISABLED_/.test(name) })
  }
  return found
}

export interface GroupMark {
  readonly line: number
  readonly kind: 'skip' | 'only'
  readonly text: string
}

/** `describe.skip`, `xdescribe`, `describe.only` and the marks that take a whole file out. */
export function groupMarks(text: string, masked: Masked, language: Language): GroupMark[] {
  const starts = lineStarts(text)
  const marks: GroupMark[] = []
  const add = (at: number, kind: GroupMark['kind'], shown: string) => marks.push({ line: lineNumber(starts, at), kind, text: shown.trim() })
  if (language === 'js') {
    for (const match of masked.code.matchAll(GROUP)) {
      if (match[1] === 'x' || /\.(?:skip|todo)\b(?!If)/.test(match[2] ?? '')) add(match.index, 'skip', match[0])
      else if (match[1] === 'f' || /\.only\b/.test(match[2] ?? '')) add(match.index, 'only', match[0])
    }
  }
  if (language === 'python') {
    for (const match of masked.code.matchAll(/^pytestmark\s*=.*\bmark\.skip\b(?!if)|^[ \t]*__test__\s*=\s*False|^(?:pytest\.skip|raise\s+unittest\.SkipTest)\(.*$/gm)) add(match.index, 'skip', match[0])
    for (const match of masked.code.matchAll(/^[ \t]*@(?:pytest\.mark|unittest)\.skip\b[^\n]*\n(?:[ \t]*@[^\n]*\n)*[ \t]*class\s+\w+/gm)) add(match.index, 'skip', match[0])
  }
  if (language === 'go') for (const match of masked.code.matchAll(/^func TestMain\([^)]*\)\s*\{\s*os\.Exit\(0\)/gm)) add(match.index, 'skip', match[0])
  if (language === 'java') for (const match of masked.code.matchAll(/^@(?:Disabled|Ignore)\b[^\n]*\n(?:@[^\n]*\n)*(?:public\s+|final\s+)*class\s+\w+/gm)) add(match.index, 'skip', match[0])
  if (language === 'rust') for (const match of masked.uncommented.matchAll(/#!?\[cfg\((?:any\(\)|FALSE|never)\)\]/g)) add(match.index, 'skip', match[0])
  return marks
}

function pythonSkip(text: string, line: number, starts: readonly number[]): boolean {
  for (let n = line - 1; n > 0 && n > line - 12; n--) {
    const above = text.slice(starts[n - 1] as number, (starts[n] ?? text.length + 1) - 1).trim()
    if (/^@(?:pytest\.mark|unittest)\.(?:skip|xfail|expectedFailure)\b(?!if|If|Unless)/.test(above) && !/\bcondition\b|raises\s*=|xfail\(\s*(?:(?!reason|strict)\w|$)/.test(above)) return true
    if (!/^@|^[)\]"'\w]|^$/.test(above) || /^(?:def|class|return|assert)\b/.test(above)) return false
  }
  return false
}

function attributeSkip(text: string, at: number, matched: string, starts: readonly number[], language: Language): boolean {
  if (language !== 'rust' && language !== 'java' && language !== 'csharp') return false
  let around = matched
  for (let n = lineNumber(starts, at) - 1, steps = 0; n > 0 && steps < 6; n--, steps++) {
    const above = text.slice(starts[n - 1] as number, (starts[n] ?? text.length + 1) - 1).trim()
    if (!/^(?:@|#\[|\[)/.test(above)) break
    around += `\n${above}`
  }
  if (language === 'rust') return /#\[ignore\b/.test(around)
  if (language === 'java') return /@(?:Disabled|Ignore)\b/.test(around) || /enabled\s*=\s*false/.test(around)
  return /\bSkip\s*=|\[Ignore\b/.test(around)
}

function skipsItself(body: readonly string[], language: Language): boolean {
  const first = body.slice(0, 3)
  if (language === 'go') return goSkip(body)
  if (language === 'python') return /^(?:pytest\.(?:skip|xfail)|self\.skipTest)\(|^raise\s+(?:unittest\.)?SkipTest/.test(body[0] ?? '')
  if (language === 'js') return first.some((line) => /^(?:this\.skip|t\.skip|(?:ctx|context|test)\.skip)\(\s*(?:['"`][^'"`]*['"`])?\s*\)/.test(line))
  if (language === 'c') return /^(?:GTEST_SKIP|SKIP)\(/.test(body[0] ?? '')
  if (language === 'php') return /^\$this->markTest(?:Skipped|Incomplete)\(/.test(body[0] ?? '')
  if (language === 'ruby') return /^(?:skip|pending)\b(?!.*\b(?:if|unless)\b)/.test(body[0] ?? '')
  return false
}

/** `t.Skip(…)` at the outermost level of the test, not inside an `if`. */
function goSkip(body: readonly string[]): boolean {
  let depth = 0
  for (const line of body) {
    if (depth === 0 && /^\w+\.(?:Skip|Skipf|SkipNow)\(/.test(line)) return true
    for (const char of line) if (char === '{') depth++
    else if (char === '}') depth--
    if (depth < 0) return false
  }
  return false
}

const ASSERT: Readonly<Partial<Record<Language, RegExp>>> = {
  js: /(?<![\w$])(?:expect(?:TypeOf|Type|Error)?\s*[(.<]|assert(?:\w*)?\s*[(.]|(?:t|tt?|st|test|qunit|s)\.(?!test|plan|end|context|teardown|after|before|mock|pass|comment|skip|log|diagnostic|add)\w+\(|should[.(]|\.should\b|strictEqual\(|deepEqual\(|deepStrictEqual\(|equal\(|ok\(|throws\(|rejects\()/,
  python: /^assert\b|\bself\.(?:assert|fail)\w*\(|\b(?:pytest|self)?\.?(?:raises|warns|assertRaises\w*|deprecated_call)\(|\bassert_\w+\(|\.assert_\w+\(/,
  go: /\b\w+\.(?:Error|Errorf|Fatal|Fatalf|Fail|FailNow)\(|\b(?:assert|require|is|qt|td|cmp|g|So|c|check)\.\w+\(|\b(?:assert|require|expect|check|must)\w*\(|^[A-Z]\w*\((?:t|mockT|tb),|^\/\/ Output/i,
  rust: /\b(?:debug_)?assert\w*!|\bpanic!|\bprop_assert\w*!|\b(?:check|expect)\w*!?\(|insta::|\.unwrap_err\(/,
  java: /\b(?:assert\w*|verify\w*|expect\w*|fail|should\w*|check\w*|then|assertThat\w*)\s*[({]|\bassert\b|should(?:Be|Equal|Throw)/,
  csharp: /\bAssert\.\w+|\.Should\w*\(|\bVerify\w*\(|\.Verify\(/,
  c: /\b(?:ASSERT|EXPECT|CHECK|REQUIRE|BOOST_\w+|CU_ASSERT|ck_assert|TEST_ASSERT|STATIC_REQUIRE|munit_assert|cr_assert|assert|g_assert)\w*\s*\(/,
  php: /->assert\w+\(|::assert\w+\(|expectException|\bexpect\(/,
  ruby: /\bexpect\b|\bassert\w*\b|\brefute\w*\b|\.should\b|\bmust_\w+/,
  swift: /\bXCTAssert\w*\(|#expect|#require|\bXCTFail\(|\bXCTUnwrap\(/,
  shell: /^\[|^assert|^test\s|\[\[|^grep|^diff|^cmp|\bassert_/,
}

/** Of a line longer than this only the beginning is judged: nobody writes such a line by hand. */
const MAX_JUDGED = 1_000

const ALWAYS = '(?:true|True|TRUE|1)'
const TRIVIAL = new RegExp([
  `\\bexpect\\(\\s*(?:${ALWAYS})\\s*\\)\\s*\\.(?:toBe|toEqual|toStrictEqual|to\\.(?:be|equal|eql)|eq)\\(?\\.?(?:${ALWAYS})?`,
  `\\bexpect\\(\\s*(?:${ALWAYS}|['"\`][^'"\`]*['"\`]|\\{\\}|\\[\\])\\s*\\)\\s*\\.(?:toBeTruthy|toBeDefined|to\\.be\\.(?:ok|true)|not\\.toBe(?:Null|Undefined))`,
  `\\bexpect\\(\\s*(\\d+|false|null)\\s*\\)\\.to(?:Be|Equal|StrictEqual)\\(\\s*\\1\\s*\\)`,
  `\\bassert(?:\\.(?:ok|isTrue|isOk|True))?\\s*\\(\\s*(?:\\w+\\s*,\\s*)?${ALWAYS}\\s*[,)]`,
  `\\bassert(?:True|_true)\\s*\\(\\s*${ALWAYS}\\s*[,)]`, `^assert\\s+(?:${ALWAYS}|not\\s+False|1\\s*==\\s*1)\\s*(?:,|#|$)`,
  `\\b(?:t|self)\\.(?:ok|true|assert|assertTrue)\\(\\s*${ALWAYS}\\s*[,)]`, `\\brequire\\.True\\(\\s*\\w+,\\s*true\\s*[,)]`,
  `\\bassert(?:_eq|_equal|Equal|Equals|Is|Same|AreEqual|\\.equal|\\.strictEqual|\\.deepEqual|\\.Equal|\\.AreEqual)?!?\\s*\\(\\s*(?:\\w+\\s*,\\s*)?(true|True|false|1|0|"[^"]*"|'[^']*')\\s*,\\s*\\2\\s*[,)]`,
  `\\bassert!\\(\\s*true\\s*[,)]`, `\\bassert_eq!\\(\\s*(\\w+)\\s*,\\s*\\3\\s*[,)]`,
  `\\b(?:EXPECT|ASSERT)_TRUE\\(\\s*(?:true|1)\\s*\\)`, `\\b(?:CHECK|REQUIRE)\\(\\s*(?:true|1)\\s*\\)`, `\\bXCTAssert(?:True)?\\(\\s*true`, `\\bAssert\\.(?:True|IsTrue)\\(\\s*true\\s*[,)]`,
].join('|'))

const LOOSE = /\.(?:toBeDefined|toBeTruthy|toBeFalsy|toBeInstanceOf|toBeTypeOf)\(|\.not\.(?:toBeNull|toBeUndefined|toThrow|toBe\(\s*(?:null|undefined))|expect\.anything\(|\.to\.(?:be\.(?:ok|an?\b)|exist)|\b(?:assert|t|tt|st)\.(?:ok|notOk|truthy|falsy|isOk|assert|exists|isTrue|true)\(\s*!*[\w.$]+(?:\[[^\]]*\])?(?:\((?:[^()=<>]|\([^()]*\))*\))?\s*[,)]|\b(?:assert|require|t|tt|st)\.(?:isDefined|isNotNull|doesNotThrow|notThrows|NotNil|NotEmpty|True(?!.*(?:==|!=|[<>]|Contains\(|HasPrefix\(|HasSuffix\(|Equal\w*\(|errors\.(?:Is|As)\(|Match\w*\())|NoError)f?\(|\bassert\s*\(\s*[\w.!]+\s*[,)]|\bassert(?:True|IsNotNone|NotNull|IsInstance|That\([^,]*,\s*notNullValue)\w*\(|^assert\s+[\w.]+(?:\([^=<>]*\))?(?:\[[^\]]*\])?\s*(?:,\s*['"f].*)?$|\bis\s+not\s+None\b|^assert\s+(?:isinstance|hasattr|callable|len\([^)]*\)\s*>=?\s*0)\b|\bassert!\(\s*[\w.&!]+(?:\(\))?(?:\.is_(?:some|ok|err|none)\(\))?\s*[,)]|\bassert!\([^=<>]*\.is_(?:some|ok)\(\)\s*\)|\b(?:EXPECT|ASSERT)_(?:TRUE|NE|NO_THROW)\(\s*(?:[\w.>-]+\s*[,)])|\bAssert\.(?:NotNull|IsNotNull|True|IsTrue)\(|\.toMatch\(\s*\/\.\*\/|toBeGreaterThanOrEqual\(\s*0\s*\)|\btoEqual\(expect\.any(?:thing)?\(/

export function strengthOf(line: string): Strength {
  if (TRIVIAL.test(line)) return 'trivial'
  return LOOSE.test(line) ? 'loose' : 'strict'
}

/** Whether a line of code asserts something. */
export function asserts(line: string, language: Language): boolean {
  return ASSERT[language]?.test(line.slice(0, MAX_JUDGED)) === true
}

function assertionsIn(body: readonly string[], language: Language): Assertion[] {
  const pattern = ASSERT[language]
  if (!pattern) return []
  return body.filter((line) => pattern.test(line.slice(0, MAX_JUDGED))).map((text) => ({ strength: strengthOf(text.slice(0, MAX_JUDGED)), text }))
}
