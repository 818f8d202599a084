import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ChangeSet, FileChange, FileVersion } from './change.ts'
import { gate } from './gate.ts'
import { danglingUses, lostNamesOf } from './references.ts'
import { viewChange, type GateOptions } from './view.ts'

type Sides = [before: string | null, after: string | null]
const version = (text: string | null, mode = '100644'): FileVersion | null => (text === null ? null : { mode, sizeBytes: text.length, binary: false, text })
const file = (path: string, [before, after]: Sides, oldPath = path): FileChange => ({ status: before === null ? 'added' : after === null ? 'deleted' : path === oldPath ? 'modified' : 'renamed', path, oldPath, before: version(before), after: version(after) })
const changeOf = (files: Record<string, Sides>, extra: Partial<ChangeSet> = {}): ChangeSet => ({ files: Object.entries(files).map(([path, sides]) => file(path, sides)), fromNothing: false, baseFolders: new Set(['src', 'test']), ...extra })
const errors = (change: ChangeSet, options: GateOptions = {}) => [...new Set(gate(change, options).findings.filter((each) => each.severity === 'error').map((each) => each.code))]
const all = (change: ChangeSet, options: GateOptions = {}) => [...new Set(gate(change, options).findings.map((each) => each.code))]

const functions = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `export function operation${from + i}(first, second) {\n  const sum${from + i} = first + second * ${from + i}\n  if (sum${from + i} > ${i}) return sum${from + i}\n  return first\n}\n`).join('\n')
const FILE = functions(0, 60)

describe('shape', () => {
  test('an empty change is an error', () => {
    expect(errors(changeOf({}))).toEqual(['empty_diff'])
  })

  test('a file outside the scope is an error, one inside is not, and "!" takes back', () => {
    const change = changeOf({ 'src/a.js': ['a()\n', 'b()\n'] })
    expect(errors(change, { scope: ['docs/**'] })).toEqual(['out_of_scope'])
    expect(errors(change, { scope: ['src/**'] })).toEqual([])
    expect(errors(change, { scope: ['src/**', '!src/a.js'] })).toEqual(['out_of_scope'])
    expect(errors({ ...change, files: [file('src/b.js', ['x\n', 'x\n'], 'lib/b.js')] }, { scope: ['src/**'] })).toEqual(['out_of_scope'])
  })

  test('swarm.yml and protected paths are errors, other pipelines a warning', () => {
    expect(errors(changeOf({ 'swarm.yml': [null, 'checks: {}\n'] }))).toEqual(['protected_file'])
    expect(errors(changeOf({ 'ops/x.tf': ['a', 'b'] }), { protect: ['ops/**'] })).toEqual(['protected_file'])
    const ci = changeOf({ '.github/workflows/ci.yml': ['a: 1\n', 'a: 2\n'] })
    expect(errors(ci)).toEqual([])
    expect(all(ci)).toEqual(['protected_file'])
    expect(errors(changeOf({ '.github/workflows/ci.yml': ['run: npm test\n', 'run: npm test || true\n'] }))).toEqual(['ci_disabled'])
  })

  test('junk is an error, the same in a fixture is not', () => {
    for (const path of ['node_modules/a/index.js', '.DS_Store', 'src/a.js.orig', 'a.rej', 'x/__pycache__/a.pyc', 'debug.log', 'a.swp', '.env']) expect(errors(changeOf({ [path]: [null, 'x\n'] })), path).toContain('junk_file')
    expect(errors(changeOf({ 'test/fixtures/a.log': [null, 'x\n'], 'src/logger.ts': [null, 'export const a = 1\n'] }))).toEqual([])
  })

  test('an unknown binary is an error, a picture a warning', () => {
    const binary = (path: string): ChangeSet => ({ ...changeOf({}), files: [{ ...file(path, [null, '']), after: { mode: '100644', sizeBytes: 5_000, binary: true, text: null } }] })
    expect(errors(binary('bin/tool'))).toEqual(['binary_file'])
    expect(errors(binary('docs/logo.png'))).toEqual([])
    expect(errors(binary('test/fixtures/a.zip'))).toEqual([])
  })

  test('a text of many megabytes is an error, a lockfile is not', () => {
    const large = `${'x'.repeat(99)}\n`.repeat(30_000)
    expect(errors(changeOf({ 'notes.md': [null, large] }))).toContain('file_too_large')
    expect(errors(changeOf({ 'package-lock.json': ['{}', large] }))).toEqual([])
  })

  test('conflict markers are errors, a heading underlined by equal signs is not', () => {
    expect(errors(changeOf({ 'src/a.js': ['a\n', '<<<<<<< HEAD\na\n=======\nb\n>>>>>>> x\n'] }))).toEqual(['conflict_markers'])
    expect(errors(changeOf({ 'README.md': [null, 'Title\n=======\ntext\n'] }))).toEqual([])
  })

  test('a link out of the repository is an error', () => {
    const link = (target: string): ChangeSet => ({ ...changeOf({}), files: [{ ...file('src/l', [null, target]), after: version(target, '120000') }] })
    expect(errors(link('../../etc/passwd'))).toEqual(['link_outside'])
    expect(errors(link('../lib/x'))).toEqual([])
  })

  test('a deleted licence is an error unless another takes its place', () => {
    expect(errors(changeOf({ LICENSE: ['text\n', null] }))).toEqual(['essential_file_deleted'])
    expect(errors(changeOf({ LICENSE: ['text\n', null], 'LICENSE.md': [null, 'text\n'] }))).toEqual([])
  })
})

describe('destruction', () => {
  test('a long file rewritten from what was seen of it is an error', () => {
    expect(errors(changeOf({ 'src/app.js': [FILE, `${functions(0, 3)}\nexport function column() {\n  return 1\n}\n`] }))).toContain('file_gutted')
  })

  test('an emptied file is an error', () => {
    expect(errors(changeOf({ 'src/app.js': [FILE, ''] }))).toEqual(['file_emptied'])
  })

  test('moving half of a file elsewhere is not', () => {
    expect(errors(changeOf({ 'src/app.js': [FILE, functions(0, 20)], 'src/more.js': [null, functions(20, 60)] }))).toEqual([])
  })

  test('reformatting the whole file is not', () => {
    expect(all(changeOf({ 'src/app.js': [FILE, FILE.replace(/\n {2}/g, '\n\t').replace(/\)\n/g, ');\n')] }))).toEqual([])
  })

  test('renaming a word everywhere is not', () => {
    expect(errors(changeOf({ 'src/app.js': [FILE, FILE.replaceAll('first', 'left')] }))).toEqual([])
  })

  test('a lockfile may be written anew', () => {
    expect(all(changeOf({ 'yarn.lock': [FILE, 'short\n'] }))).toEqual([])
  })

  test('a comment in place of code is an error, an ordinary comment with dots is not', () => {
    for (const text of ['// ... rest of the code unchanged', '// ... existing code ...', '/* remaining methods unchanged */', '# ... (truncated for brevity)']) expect(errors(changeOf({ 'src/app.js': [functions(0, 10), `${functions(0, 5)}${text}\n`] })), text).toContain('code_elided')
    expect(errors(changeOf({ 'src/app.js': [functions(0, 5), `${functions(0, 5)}// wait for it...\n// the rest of the arguments goes to the child\n`] }))).toEqual([])
  })

  test('a stubbed body is an error, a shorter real one is not', () => {
    const old = 'function total(items) {\n  let sum = 0\n  for (const item of items) sum += item\n  if (sum < 0) throw new RangeError()\n  return sum\n}\n'
    for (const body of ["throw new Error('Not implemented')", 'return null', '// TODO: implement', '']) expect(errors(changeOf({ 'src/a.js': [old, `function total(items) {\n  ${body}\n}\n`] })), body).toContain('body_stubbed')
    expect(errors(changeOf({ 'src/a.js': [old, 'function total(items) {\n  return items.reduce((a, b) => a + b, 0)\n}\n'] }))).toEqual([])
    expect(errors(changeOf({ 'a.py': ['def total(items):\n    s = 0\n    for i in items:\n        s += i\n    return s\n', 'def total(items):\n    pass\n'] }))).toContain('body_stubbed')
  })

  test('a removed name that is still called or imported is an error, one that nothing uses is not', () => {
    const change = changeOf({ 'src/money.js': ['export function cents(a) {\n  return a\n}\nexport function euros(a) {\n  return a\n}\n', 'export function cents(a) {\n  return a\n}\n'] })
    const whole = viewChange(change, {})
    const lost = lostNamesOf(whole)
    expect(lost).toMatchObject([{ word: 'euros', from: 'src/money.js' }])
    const used = danglingUses(lost, [{ path: 'src/shop.js', line: 1, text: "import { euros } from './money.js'" }], whole)
    expect(errors(change, { dangling: used })).toEqual(['still_in_use'])
    const unrelated = danglingUses(lost, [{ path: 'src/shop.js', line: 1, text: "import { euros } from 'other'" }, { path: 'README.md', line: 2, text: 'euros(1)' }, { path: 'src/x.js', line: 9, text: '// euros(1)' }], whole)
    expect(errors(change, { dangling: unrelated })).toEqual([])
  })
})

const TESTS = "test('adds', () => {\n  expect(add(1, 2)).toBe(3)\n  expect(add(2, 2)).toBe(4)\n})\n\ntest('takes', () => {\n  expect(take(3, 2)).toBe(1)\n})\n"

describe('tests', () => {
  const of = (after: string | null, path = 'test/sum.test.js', before = TESTS) => errors(changeOf({ [path]: [before, after] }))

  test('a removed test or test file is an error', () => {
    expect(of(TESTS.slice(0, TESTS.indexOf("test('takes'")))).toEqual(['tests_removed'])
    expect(of(null)).toEqual(['test_file_deleted'])
  })

  test('tests that moved, were renamed, or went with their code are not', () => {
    expect(errors(changeOf({ 'test/sum.test.js': [TESTS, null], 'test/math.test.js': [null, TESTS] }))).toEqual([])
    expect(of(TESTS.replace("'takes'", "'subtracts'"))).toEqual([])
    expect(errors(changeOf({ 'test/sum.test.js': [TESTS, TESTS.slice(0, TESTS.indexOf("test('takes'"))], 'src/sum.js': ['export function add() {}\nexport function take() {}\n', 'export function add() {}\n'] }))).toEqual([])
  })

  test('a skip mark on a test that ran is an error in each language, a condition is not', () => {
    expect(of(TESTS.replace("test('takes'", "test.skip('takes'"))).toEqual(['test_skipped'])
    expect(of(TESTS.replace("test('takes'", "test.todo('takes'"))).toEqual(['test_skipped'])
    expect(of(TESTS.replace("test('takes'", "test.only('takes'"))).toEqual(['test_focused'])
    const cases: [string, string, string][] = [
      ['tests/test_a.py', 'def test_a():\n    assert add(1) == 2\n', '@pytest.mark.skip(reason="flaky")\ndef test_a():\n    assert add(1) == 2\n'],
      ['a_test.go', 'func TestA(t *testing.T) {\n\tassert.Equal(t, 1, a())\n}\n', 'func TestA(t *testing.T) {\n\tt.Skip("flaky")\n\tassert.Equal(t, 1, a())\n}\n'],
      ['tests/a.rs', '#[test]\nfn adds() {\n    assert_eq!(add(1), 2);\n}\n', '#[test]\n#[ignore]\nfn adds() {\n    assert_eq!(add(1), 2);\n}\n'],
      ['src/test/ATest.java', '  @Test\n  void adds() {\n    assertEquals(2, add(1));\n  }\n', '  @Disabled\n  @Test\n  void adds() {\n    assertEquals(2, add(1));\n  }\n'],
      ['test/a_test.cc', 'TEST(Sum, Adds) {\n  EXPECT_EQ(2, add(1));\n}\n', 'TEST(Sum, DISABLED_Adds) {\n  EXPECT_EQ(2, add(1));\n}\n'],
    ]
    for (const [path, before, after] of cases) expect(of(after, path, before), path).toEqual(['test_skipped'])
    expect(of('@pytest.mark.skipif(WINDOWS, reason="x")\ndef test_a():\n    assert add(1) == 2\n', 'tests/test_a.py', cases[0]?.[1])).toEqual([])
    expect(of('func TestA(t *testing.T) {\n\tif testing.Short() {\n\t\tt.Skip("slow")\n\t}\n\tassert.Equal(t, 1, a())\n}\n', 'a_test.go', cases[1]?.[1])).toEqual([])
  })

  test('assertions that went, cannot fail, or say less are errors', () => {
    expect(of(TESTS.replace('  expect(take(3, 2)).toBe(1)\n', '  take(3, 2)\n'))).toEqual(['assertions_removed'])
    expect(of(TESTS.replace('  expect(take(3, 2)).toBe(1)\n', '  // expect(take(3, 2)).toBe(1)\n'))).toEqual(['assertions_removed'])
    expect(of(TESTS.replace('expect(take(3, 2)).toBe(1)', 'expect(true).toBe(true)'))).toEqual(['assertion_trivial'])
    expect(of(TESTS.replace('expect(take(3, 2)).toBe(1)', 'expect(take(3, 2)).toBeDefined()'))).toEqual(['assertion_weakened'])
    expect(of('def test_a():\n    assert add(1) is not None\n', 'tests/test_a.py', 'def test_a():\n    assert add(1) == 2\n')).toEqual(['assertion_weakened'])
    expect(of("test('list', () => {\n  expect(list(a)).toEqual([])\n})\n", 'test/l.test.js', "test('list', () => {\n  expect(list(a)).toEqual([1, 2])\n})\n")).toEqual(['assertion_weakened'])
  })

  test('a changed expectation, a helper or more assertions are not', () => {
    expect(of(TESTS.replace('toBe(1)', 'toBe(5)'))).toEqual([])
    expect(of(TESTS.replace('expect(take(3, 2)).toBe(1)', 'expectDifference(3, 2, 1)'))).toEqual([])
    expect(of(TESTS.replace('toBe(1)', 'toBe(1)\n  expect(take(1, 1)).toBe(0)'))).toEqual([])
  })

  test('a test command that cannot fail is an error, another runner is not', () => {
    const pkg = (command: string) => `${JSON.stringify({ scripts: { test: command } }, null, 2)}\n`
    for (const command of ['exit 0', 'true', 'vitest run || true', 'echo ok', '']) expect(errors(changeOf({ 'package.json': [pkg('vitest run'), pkg(command)] })), command).toEqual(['test_command_neutralised'])
    expect(errors(changeOf({ 'package.json': [pkg('mocha'), pkg('node --test')] }))).toEqual([])
  })
})

describe('secrets', () => {
  const digits = 'Zk3vQ9xT7bLm2RwY8cNf4HsJ6dPg1AuE'
  test('keys of known shape, private keys and random values under a telling name are errors', () => {
    for (const text of [`key = "AKIA${'Q3EXB7ZL2MNWK5TR'}"`, `const t = "ghp_${digits}aB3d"`, `API_TOKEN = "${digits}"`, `-----BEGIN ${'PRIVATE'} KEY-----\n${digits}${digits}\n-----END PRIVATE KEY-----`, `url = "postgres://app:${digits.slice(0, 14)}@db.corp.net/x"`]) expect(errors(changeOf({ 'src/a.js': ['a\n', `a\n${text}\n`] })).some((code) => code === 'secret' || code === 'possible_secret'), text).toBe(true)
  })

  test('placeholders, digests and lookups are not', () => {
    for (const text of ['aws = "AKIAIOSFODNN7EXAMPLE"', 'password = "changeme-please-now"', `sha256 = "${digits.toLowerCase()}"`, 'token = process.env.API_TOKEN_PRODUCTION', 'const tokenKind = "identifierOrKeyword"']) expect(errors(changeOf({ 'src/a.js': ['a\n', `a\n${text}\n`] })), text).toEqual([])
  })
})

test('any change at all gets an answer, the same twice, with a remedy for each finding', () => {
  const text = fc.oneof(fc.constant(null), fc.array(fc.constantFrom('test("a", () => {', '})', 'expect(a).toBe(1)', 'function f() {', '}', '"', '`', '/*', '// ... rest', 'import x from "./y"', '\u0000', '[[[', '((', 'def f(:', "'''"), { maxLength: 30 }).map((rows) => rows.join('\n')))
  const path = fc.constantFrom('a.js', 'test/a.test.ts', 'b.py', 'c_test.go', 'd.rs', 'e.java', 'f.c', 'g.html', 'package.json', 'x.rb', 'odd\nname.js')
  fc.assert(fc.property(fc.dictionary(path, fc.tuple(text, text), { maxKeys: 5 }), (files) => {
    const change = changeOf(files as Record<string, Sides>)
    const result = gate(change)
    expect(gate(change)).toEqual(result)
    expect(result.clean).toBe(result.findings.every((each) => each.severity === 'warning'))
    for (const each of result.findings) expect(each.remedy.length).toBeGreaterThan(10)
  }))
})
