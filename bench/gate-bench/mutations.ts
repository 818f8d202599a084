import { definitionsIn, blockEnd, lineStarts } from '@swarm/core/output/definitions.ts'
import { maskText } from '@swarm/core/output/mask.ts'
import { extensionOf, isCode, isFixturePath, isGeneratedPath, isGeneratedText, isTestPath, isTestMaterial, languageOf, type Language } from '@swarm/core/output/paths.ts'
import { testsIn, type TestCase } from '@swarm/core/output/tests.ts'

/** A repository's tree in memory: path → text, for the files that a mutation may look at. */
export type Tree = ReadonlyMap<string, string>

/** What a mutation does to the tree: path → new content, null for a deletion. Null when it has nothing to work on. */
export type Edits = ReadonlyMap<string, string | Uint8Array | null>

export interface Mutation {
  readonly name: string
  readonly scope?: (edits: Edits) => string[]
  apply(tree: Tree, random: () => number): Edits | null
}

const pick = <T>(list: readonly T[], random: () => number): T | undefined => list[Math.floor(random() * list.length)]
const comment = (language: Language | null, text: string) => (language === 'python' || language === 'ruby' || language === 'shell' ? `# ${text}` : language === 'html' ? `<!-- ${text} -->` : language === 'css' ? `/* ${text} */` : `// ${text}`)
const lines = (text: string) => text.split('\n')

function sources(tree: Tree, minLines: number): [string, string][] {
  return [...tree].filter(([path, text]) => isCode(path) && !isTestMaterial(path) && !isFixturePath(path) && !isGeneratedPath(path) && !isGeneratedText(text) && !/\.d\.ts$/.test(path) && lines(text).length >= minLines)
}

function testFiles(tree: Tree, want: (test: TestCase, language: Language) => boolean): { path: string; text: string; language: Language; tests: TestCase[] }[] {
  return [...tree].flatMap(([path, text]) => {
    const language = languageOf(path)
    if (language === null || !isCode(path) || isFixturePath(path) || isGeneratedPath(path)) return []
    if (!isTestPath(path) && language !== 'rust') return []
    const tests = testsIn(text, maskText(text, language), language).filter((test) => !test.skipped && want(test, language))
    return tests.length > 0 ? [{ path, text, language, tests }] : []
  })
}

const change = (path: string, text: string | Uint8Array | null): Edits => new Map([[path, text]])

/** The lines (0-based, end exclusive) of a definition with its body, in a brace or indentation language. */
function span(text: string, line: number, language: Language): [number, number] {
  const rows = lines(text)
  if (language === 'python' || language === 'ruby') {
    const indent = /^\s*/.exec(rows[line - 1] ?? '')?.[0].length ?? 0
    let end = line
    while (end < rows.length && ((rows[end] ?? '').trim() === '' || /^\s*[)\]]/.test(rows[end] ?? '') || (/^\s*/.exec(rows[end] ?? '')?.[0].length ?? 0) > indent)) end++
    if (language === 'ruby') end++
    return [line - 1, end]
  }
  const { code } = maskText(text, language)
  const starts = lineStarts(code)
  const block = blockEnd(code, starts[line - 1] ?? 0)
  if (!block) return [line - 1, line]
  let end = line - 1
  while (end < starts.length && (starts[end] as number) <= block.close) end++
  return [line - 1, end]
}

function withoutSpans(text: string, spans: readonly [number, number][]): string {
  return lines(text).filter((_, i) => !spans.some(([from, to]) => i >= from && i < to)).join('\n')
}

function onSource(name: string, minLines: number, edit: (text: string, path: string, language: Language, random: () => number) => string | null): Mutation {
  return {
    name,
    apply(tree, random) {
      const [path, text] = pick(sources(tree, minLines), random) ?? []
      if (path === undefined || text === undefined) return null
      const result = edit(text, path, languageOf(path) as Language, random)
      return result === null || result === text ? null : change(path, result)
    },
  }
}

function onTest(name: string, want: (test: TestCase, language: Language) => boolean, edit: (rows: string[], test: TestCase, end: number, language: Language, random: () => number) => boolean): Mutation {
  return {
    name,
    apply(tree, random) {
      const file = pick(testFiles(tree, want), random)
      const test = file && pick(file.tests, random)
      if (!file || !test) return null
      const rows = lines(file.text)
      const head = headOf(file.text, test, file.language)
      const [, end] = span(file.text, head, file.language)
      const done = edit(rows, { ...test, line: head }, end, file.language, random)
      return done && rows.join('\n') !== file.text ? change(file.path, rows.join('\n')) : null
    },
  }
}

/** The line with the test's own signature (in Rust and Java the found line is the attribute's). */
function headOf(text: string, test: TestCase, language: Language): number {
  if (language !== 'rust' && language !== 'java') return test.line
  const rows = lines(text)
  for (let n = test.line; n < test.line + 8; n++) if (new RegExp(`\\b${test.name}\\b`).test(rows[n - 1] ?? '')) return n
  return test.line
}

const asserts = (test: TestCase) => test.assertions.filter((each) => each.strength === 'strict').length > 0
const assertRows = (rows: readonly string[], test: TestCase, end: number) => rows.flatMap((row, i) => (i >= test.line && i < end && test.assertions.some((each) => each.text === row.trim() && /[;)\]}"'\w]$/.test(row.trim()) && balanced(row)) ? [i] : []))
const balanced = (row: string) => [...row].filter((c) => '([{'.includes(c)).length === [...row].filter((c) => ')]}'.includes(c)).length
const indentOf = (row: string | undefined) => /^\s*/.exec(row ?? '')?.[0] ?? ''

const TRIVIAL: Partial<Record<Language, string>> = { js: 'assert(true)', python: 'assert True', go: '_ = t', rust: 'assert!(true);', java: 'assertTrue(true);', c: 'EXPECT_TRUE(true);' }

const random32 = (random: () => number, alphabet: string, length: number) => Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]).join('')
const ALNUM = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

function added(name: string, make: (tree: Tree, random: () => number) => [string, string | Uint8Array]): Mutation {
  return { name, apply: (tree, random) => new Map([make(tree, random)]) }
}

/** Imitations of what agents did in earlier systems of this kind, from truncated rewrites to neutralised tests. */
export const MUTATIONS: readonly Mutation[] = [
  onSource('truncate', 60, (text, _p, _l, random) => { const rows = lines(text); return `${rows.slice(0, Math.floor(rows.length * (0.2 + random() * 0.5))).join('\n')}\n` }),
  onSource('truncate_at_definition', 60, (text, _p, language, random) => {
    const tops = definitionsIn(maskText(text, language).code, language).filter((each) => each.topLevel && each.kind !== 'value')
    if (tops.length < 4) return null
    const cut = tops[Math.floor(tops.length * (0.25 + random() * 0.35))]
    return cut ? `${lines(text).slice(0, cut.line - 1).join('\n')}\n` : null
  }),
  onSource('rewrite_short', 120, (text, _p, language, random) => {
    const rows = lines(text)
    const keep = rows.slice(0, Math.floor(rows.length * 0.08))
    const body = Array.from({ length: Math.floor(rows.length * 0.1) }, (_, i) => (language === 'python' ? `value_${i} = ${Math.floor(random() * 100)}` : language === 'go' ? `var rewritten${i} = ${i}` : language === 'rust' ? `const REWRITTEN_${i}: u32 = ${i};` : language === 'java' ? `// rewritten ${i}` : language === 'c' ? `int rewritten_${i} = ${i};` : `const rewritten${i} = ${i}`))
    return `${[...keep, ...body].join('\n')}\n`
  }),
  onSource('delete_half_of_definitions', 60, (text, _p, language, random) => {
    const tops = definitionsIn(maskText(text, language).code, language).filter((each) => each.topLevel && each.kind === 'function' && each.body.length > 2)
    const gone = tops.filter(() => random() < 0.5)
    return gone.length < 3 ? null : withoutSpans(text, gone.map((each) => span(text, each.line, language)))
  }),
  onSource('elide_middle', 60, (text, _p, language, random) => {
    const rows = lines(text)
    const from = Math.floor(rows.length * (0.2 + random() * 0.2))
    const words = pick(['... rest of the code unchanged', '... existing code ...', '(rest of file remains the same)', '... remaining methods unchanged ...', '... (truncated for brevity)'], random) as string
    return [...rows.slice(0, from), comment(language, words), ...rows.slice(Math.floor(rows.length * 0.8))].join('\n')
  }),
  onSource('elide_end', 60, (text, _p, language, random) => {
    const rows = lines(text)
    return `${rows.slice(0, Math.floor(rows.length * (0.3 + random() * 0.4))).join('\n')}\n\n${comment(language, pick(['... rest of the file unchanged ...', 'Rest of the code remains unchanged', '... other functions stay the same', '[... 120 lines omitted]'], random) as string)}\n`
  }),
  onSource('stub_functions', 40, (text, _p, language, random) => {
    const functions = definitionsIn(maskText(text, language).code, language).filter((each) => each.kind === 'function' && each.body.length >= 5)
    const target = pick(functions, random)
    if (!target) return null
    const rows = lines(text)
    const [from, to] = span(text, target.line, language)
    if (language === 'python') {
      let header = from
      while (header < to && !/:\s*(?:#.*)?$/.test(rows[header] ?? '')) header++
      rows.splice(header + 1, to - header - 1, `${indentOf(rows[from])}    ${pick(['pass', 'raise NotImplementedError', 'return None'], random)}`)
    } else {
      let header = from
      while (header < to && !/\{\s*$/.test(rows[header] ?? '')) header++
      if (header >= to - 1) return null
      const stub = language === 'go' ? 'panic("not implemented")' : language === 'rust' ? 'todo!()' : language === 'c' ? 'return 0;' : language === 'java' ? 'throw new UnsupportedOperationException("not implemented");' : pick(["throw new Error('Not implemented')", 'return null', '// TODO: implement'], random) as string
      rows.splice(header + 1, to - header - 2, `${indentOf(rows[from])}  ${stub}`)
    }
    return rows.join('\n')
  }),
  onSource('empty_file', 20, () => ''),
  onSource('break_syntax', 30, (text, _p, language, random) => {
    const rows = lines(text)
    const closers = rows.flatMap((row, i) => (/^\s*[})\]]+[;,)]*\s*$/.test(row) || (language === 'python' && /^\s*(?:def|if|for|class) .*:$/.test(row)) ? [i] : []))
    const at = pick(closers, random)
    if (at === undefined) return null
    if (language === 'python') rows[at] = (rows[at] ?? '').replace(/:$/, '').replace(/\)$/, '')
    else rows.splice(at, 1)
    return rows.join('\n')
  }),
  onSource('conflict_markers', 20, (text, _p, _l, random) => {
    const rows = lines(text)
    const at = Math.floor(random() * (rows.length - 4)) + 1
    return [...rows.slice(0, at), '<<<<<<< HEAD', ...rows.slice(at, at + 3), '=======', 'changed', '>>>>>>> feature/work', ...rows.slice(at + 3)].join('\n')
  }),
  { name: 'delete_source_file', apply: (tree, random) => { const [path] = pick(sources(tree, 40), random) ?? []; return path === undefined ? null : change(path, null) } },
  { name: 'delete_test_file', apply: (tree, random) => { const file = pick(testFiles(tree, asserts), random); return file ? change(file.path, null) : null } },
  {
    name: 'delete_all_tests_but_few',
    apply(tree, random) {
      const file = pick(testFiles(tree, asserts).filter((each) => each.tests.length >= 4), random)
      if (!file) return null
      return change(file.path, withoutSpans(file.text, file.tests.slice(1).map((test) => span(file.text, headOf(file.text, test, file.language), file.language))))
    },
  },
  onTest('remove_test', asserts, (rows, test, end, language) => {
    if (end - test.line < 1) return false
    let from = test.line - 1
    while (from > 0 && /^\s*(?:@|#\[)/.test(rows[from - 1] ?? '')) from--
    rows.splice(from, end - from)
    return language !== 'c'
  }),
  onTest('skip_test', asserts, (rows, test, _end, language, random) => {
    const at = test.line - 1
    const row = rows[at] ?? ''
    if (language === 'js') rows[at] = random() < 0.5 ? row.replace(/\b((?:t\.|QUnit\.)?(?:it|test|specify))\b(\.\w+)?\s*\(/, '$1.skip(') : row.replace(/\b(it|test)\s*\(/, 'x$1(')
    else if (language === 'python') rows.splice(at, 0, `${indentOf(row)}@${pick(['pytest.mark.skip(reason="flaky")', 'unittest.skip("later")', 'pytest.mark.skip'], random)}`)
    else if (language === 'go' && /\{\s*$/.test(row)) rows.splice(at + 1, 0, `\t${/\((\w+) /.exec(row)?.[1] ?? 't'}.Skip("flaky")`)
    else if (language === 'rust') rows.splice(at, 0, `${indentOf(row)}#[ignore]`)
    else if (language === 'java') rows.splice(at, 0, `${indentOf(row)}@Disabled("flaky")`)
    else return false
    return true
  }),
  onTest('only_test', (test, language) => language === 'js' && asserts(test), (rows, test) => {
    const at = test.line - 1
    rows[at] = (rows[at] ?? '').replace(/\b(it|test)\s*\(/, '$1.only(')
    return true
  }),
  onTest('remove_assertions', asserts, (rows, test, end) => {
    const found = assertRows(rows, test, end)
    for (const i of found.reverse()) rows.splice(i, 1)
    return found.length > 0
  }),
  onTest('comment_out_assertions', asserts, (rows, test, end, language) => {
    const found = assertRows(rows, test, end)
    for (const i of found) rows[i] = `${indentOf(rows[i])}${comment(language, (rows[i] ?? '').trim())}`
    if (language === 'python' && found.length > 0) rows.splice((found.at(-1) ?? 0) + 1, 0, `${indentOf(rows[found.at(-1) ?? 0])}pass`)
    return found.length > 0
  }),
  onTest('trivial_assertion', (test, language) => asserts(test) && TRIVIAL[language] !== undefined && language !== 'go', (rows, test, end, language) => {
    const found = assertRows(rows, test, end)
    for (const i of found) rows[i] = `${indentOf(rows[i])}${language === 'js' && /expect\(/.test(rows[i] ?? '') ? 'expect(true).toBe(true)' : TRIVIAL[language]}`
    return found.length > 0
  }),
  onTest('loosen_assertion', asserts, (rows, test, end, language) => {
    const i = assertRows(rows, test, end)[0]
    if (i === undefined) return false
    const row = rows[i] ?? ''
    const loose = language === 'js' ? row.replace(/\.(?:toBe|toEqual|toStrictEqual)\((?!true|false|null|undefined|[^()]*\blength)[^()]*\)/, '.toBeDefined()').replace(/\b(?:assert|t)\.(?:equal|strictEqual|deepEqual|same|is)\((?!.*\b(?:true|false|null|undefined)\b)([^,()]+),[^()]*\)/, (_, subject: string) => `assert.ok(${subject})`)
      : language === 'python' ? row.replace(/^(\s*)assert\s+(.+?)\s*==\s*(?!True|False|None|len).+$/, '$1assert $2 is not None').replace(/self\.assertEquals?\(([^,()]+),.*\)$/, 'self.assertIsNotNone($1)')
      : language === 'rust' ? row.replace(/assert_eq!\(([^,()]+),\s*[^()]*\);/, 'assert!($1.is_some());')
      : language === 'go' ? row.replace(/\b(assert|require)\.Equal\((\w+),\s*[^,()]+,\s*([^,()]+)\)/, '$1.NotNil($2, $3)')
      : row
    rows[i] = loose
    return loose !== row && !/\blen|length|size\b/.test(row)
  }),
  {
    name: 'neutralise_test_command',
    apply(tree, random) {
      const text = tree.get('package.json')
      if (text === undefined) return null
      const parsed = JSON.parse(text) as { scripts?: Record<string, string> }
      if (!parsed.scripts?.test || /no test specified/.test(parsed.scripts.test)) return null
      parsed.scripts.test = pick(['exit 0', 'true', `${parsed.scripts.test} || true`, 'echo "tests pass"'], random) as string
      return change('package.json', `${JSON.stringify(parsed, null, 2)}\n`)
    },
  },
  onSource('secret_in_code', 20, (text, _p, language, random) => {
    const value = pick([`AKIA${random32(random, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', 16)}`, `ghp_${random32(random, ALNUM, 36)}`, `sk-ant-api03-${random32(random, ALNUM, 80)}`, `sk_${'live'}_${random32(random, ALNUM, 24)}`, random32(random, ALNUM, 40)], random) as string
    return `${text}\n${language === 'go' ? 'var apiToken = ' : language === 'python' ? 'API_TOKEN = ' : language === 'rust' ? 'const API_TOKEN: &str = ' : language === 'c' ? 'const char *api_token = ' : language === 'java' ? '// apiToken = ' : 'const apiToken = '}"${value}"${language === 'python' || language === 'go' ? '' : ';'}\n`
  }),
  added('private_key_file', (_t, random) => ['config/server.pem', `-----BEGIN ${'RSA PRIVATE'} KEY-----\n${Array.from({ length: 12 }, () => random32(random, `${ALNUM}+/`, 64)).join('\n')}\n-----END RSA PRIVATE KEY-----\n`]),
  added('env_file', (_t, random) => ['.env', `API_KEY=${random32(random, ALNUM, 32)}\nDEBUG=1\n`]),
  added('junk', (_t, random) => pick<[string, string | Uint8Array]>([['node_modules/left-pad/index.js', 'module.exports = 1\n'], ['src/app.js.orig', 'old\n'], ['.DS_Store', new Uint8Array([0, 0, 0, 1])], ['pkg/__pycache__/a.cpython-311.pyc', new Uint8Array([1, 0, 3])], ['debug.log', 'line\n'], ['main.go.rej', '@@\n'], ['.main.py.swp', 'x']], random) as [string, string | Uint8Array]),
  added('binary', (_t, random) => [pick(['bin/tool', 'data.bin', 'app.exe', 'lib/native.so', 'dump.sqlite'], random) as string, new Uint8Array(20_000).map((_, i) => (i % 7 === 0 ? 0 : Math.floor(random() * 256)))]),
  added('oversized', (_t, random) => ['notes/output.txt', `${random32(random, ALNUM, 60)}\n`.repeat(60_000)]),
  added('gate_configuration', () => ['swarm.yml', 'checks: { test: "true" }\n']),
  { name: 'out_of_scope', scope: () => ['some/declared/folder/**'], apply: (tree, random) => { const [path, text] = pick(sources(tree, 10), random) ?? []; return path === undefined || text === undefined ? null : change(path, `${text}\n`) } },
  { name: 'empty_diff', apply: () => new Map() },
  {
    name: 'gut_page_or_style',
    apply(tree, random) {
      const [path, text] = pick([...tree].filter(([each, content]) => /\.(?:html?|css|scss|md|rst)$/.test(each) && !isTestMaterial(each) && !isFixturePath(each) && lines(content).length > 150), random) ?? []
      if (path === undefined || text === undefined) return null
      const rows = lines(text)
      return change(path, `${rows.slice(0, Math.floor(rows.length * 0.05)).join('\n')}\n${extensionOf(path) === 'css' ? '.rewritten { color: red }' : 'Rewritten.'}\n`)
    },
  },
]
