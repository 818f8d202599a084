import { describe, expect, test } from 'vitest'
import type { ChangeSet, FileChange, FileVersion } from './change.ts'
import { gate } from './gate.ts'

type Sides = [before: string | null, after: string | null]
const version = (text: string | null): FileVersion | null => (text === null ? null : { mode: '100644', sizeBytes: text.length, binary: false, text })
const changeOf = (files: Record<string, Sides>): ChangeSet => ({
  files: Object.entries(files).map(([path, [before, after]]): FileChange => ({ status: before === null ? 'added' : after === null ? 'deleted' : 'modified', path, oldPath: path, before: version(before), after: version(after) })),
  fromNothing: false, baseFolders: new Set(['src', 'test']),
})
const errors = (files: Record<string, Sides>) => [...new Set(gate(changeOf(files)).findings.filter((each) => each.severity === 'error').map((each) => each.code))]

/** What people do now and then, and what looks like it but is destruction. */
interface Pair {
  readonly ordinary: Record<string, Sides>
  readonly destructive: Record<string, Sides>
  readonly code: string
}
const holds = (pair: Pair) => {
  expect(errors(pair.ordinary)).toEqual([])
  expect(errors(pair.destructive)).toContain(pair.code)
}

const SUBJECTS = ['adds', 'takes', 'divides', 'rounds', 'parses', 'prints']
const VITEST = SUBJECTS.map((name, i) => `test('${name} numbers', () => {\n  const result = ${name}(${i}, 2)\n  expect(result.value).toBe(${i * 3})\n  expect(result.unit).toEqual('m')\n})\n`).join('\n')
const SOURCE = SUBJECTS.map((name) => `export function ${name}(first, second) {\n  const ${name}Total = first + second\n  if (${name}Total < 0) throw new RangeError('${name}')\n  return { value: ${name}Total, unit: 'm' }\n}\n`).join('\n')
const without = (text: string, name: string) => text.split('\n\n').filter((part) => !part.includes(name)).join('\n\n')

describe('tests that change their form', () => {
  test('a suite may move to another framework in place; the same suite may not just lose its assertions', () => {
    const node = VITEST.replace(/expect\((.*?)\)\.(?:toBe|toEqual)\((.*)\)/g, 'assert.deepStrictEqual($1, $2)').replaceAll('test(', 'await t.test(')
    holds({
      ordinary: { 'test/sum.test.js': [VITEST, node] },
      destructive: { 'test/sum.test.js': [VITEST, node.replace(/.*deepStrictEqual.*\n/g, '')] }, code: 'assertions_removed',
    })
  })

  test('a suite may be written anew in another file and framework; it may not be left out of it', () => {
    const unittest = `class SumTest(unittest.TestCase):\n${SUBJECTS.map((name, i) => `    def test_${name}_numbers(self):\n        result = ${name}(${i}, 2)\n        self.assertEqual(result.value, ${i * 3})\n`).join('\n')}`
    const pytest = SUBJECTS.map((name, i) => `def test_${name}():\n    outcome = ${name}(${i}, 2)\n    assert outcome.value == ${i * 3}\n`).join('\n\n')
    holds({
      ordinary: { 'tests/sum_tests.py': [unittest, null], 'tests/test_sum.py': [null, pytest] },
      destructive: { 'tests/sum_tests.py': [unittest, null], 'tests/test_sum.py': [null, pytest.split('\n\n').slice(0, 1).join('')] }, code: 'test_file_deleted',
    })
  })

  test('tests may be merged into a table; a table that holds one of them is not the others', () => {
    const single = [1, 2, 3, 4].map((i) => `test('formats ${i}', () => {\n  expect(format(${i}00)).toBe('${i} hundred')\n})\n`).join('\n')
    const table = (rows: number[]) => `test.each([\n${rows.map((i) => `  [${i}00, '${i} hundred'],\n`).join('')}])('formats %s', (input, expected) => {\n  expect(format(input)).toBe(expected)\n})\n`
    holds({
      ordinary: { 'test/format.test.js': [single, table([1, 2, 3, 4])] },
      destructive: { 'test/format.test.js': [single, table([1])] }, code: 'tests_removed',
    })
  })

  test('Go tests may become rows of a table, and Python tests parameters', () => {
    const go = ['Empty', 'Small', 'Large'].map((name, i) => `func Test${name}(t *testing.T) {\n\tgot := size("${'x'.repeat(i * 7)}")\n\tif got != ${i * 7} {\n\t\tt.Errorf("size of ${name}: %d", got)\n\t}\n}\n`).join('\n')
    const table = (rows: number[]) => `func TestSize(t *testing.T) {\n\tfor _, tc := range []struct{ name, in string; want int }{\n${rows.map((i) => `\t\t{"${['Empty', 'Small', 'Large'][i]}", "${'x'.repeat(i * 7)}", ${i * 7}},\n`).join('')}\t} {\n\t\tt.Run(tc.name, func(t *testing.T) {\n\t\t\tif got := size(tc.in); got != tc.want {\n\t\t\t\tt.Errorf("%d", got)\n\t\t\t}\n\t\t})\n\t}\n}\n`
    holds({ ordinary: { 'size_test.go': [go, table([0, 1, 2])] }, destructive: { 'size_test.go': [go, go.split('\n\n').slice(0, 1).join('')] }, code: 'tests_removed' })
    const python = [3, 5, 8].map((i) => `def test_width_${i}():\n    assert width("${'y'.repeat(i)}") == ${i}\n`).join('\n\n')
    const parameters = (rows: number[]) => `@pytest.mark.parametrize("text, expected", [\n${rows.map((i) => `    ("${'y'.repeat(i)}", ${i}),\n`).join('')}])\ndef test_width(text, expected):\n    assert width(text) == expected\n`
    holds({ ordinary: { 'tests/test_width.py': [python, parameters([3, 5, 8])] }, destructive: { 'tests/test_width.py': [python, python.split('\n\n\n').slice(0, 1).join('')] }, code: 'tests_removed' })
  })

  test('a table of a parametrised test may hold calls of its own, and change', () => {
    const each = (row: string) => `test.each([['above', '../x'], ['absolute', ${row}]])(\n  'refuses %s', async (_, path) => {\n    expect(await run(path)).toMatchObject({ code: 'outside' })\n  })\n`
    holds({
      ordinary: { 'test/paths.test.ts': [each("'/tmp/x'"), each("path.resolve('x', join('a', 'b'))")] },
      destructive: { 'test/paths.test.ts': [each("path.resolve('x', join('a', 'b'))") + VITEST, VITEST] }, code: 'tests_removed',
    })
  })

  test('describe blocks and titles may be renamed', () => {
    const old = `describe('sum', () => {\n${VITEST}})\n`
    holds({
      ordinary: { 'test/sum.test.js': [old, old.replace("describe('sum'", "describe('arithmetic'").replace(/test\('(\w+) numbers'/g, "test('it $1'")] },
      destructive: { 'test/sum.test.js': [old, old.replace("describe('sum'", "describe.skip('sum'")] }, code: 'test_skipped',
    })
  })

  test('assertions may move into a helper, wherever it is; a helper that asserts nothing is no helper', () => {
    const helped = VITEST.replace(/ {2}expect\(result\.value\)\.toBe\((.*)\)\n {2}expect\(result\.unit\)\.toEqual\('m'\)\n/g, '  metres(result, $1)\n')
    const helper = 'function metres(result, value) {\n  expect(result.value).toBe(value)\n  expect(result.unit).toEqual(\'m\')\n}\n\n'
    holds({
      ordinary: { 'test/sum.test.js': [VITEST, helper + helped] },
      destructive: { 'test/sum.test.js': [VITEST, `function metres(result, value) {\n  return [result, value]\n}\n\n${helped}`] }, code: 'assertions_removed',
    })
    expect(errors({ 'test/sum.test.js': [VITEST, `import { metres } from './helpers.js'\n${helped}`], 'test/helpers.js': [null, `export ${helper}`] })).toEqual([])
  })

  test('a helper that is called in an assertion may be renamed; a filled expectation may not be emptied beside it', () => {
    const old = "test('reads', async () => {\n  expect((await readEvents(db.read, cursor, 10)).events).toEqual([])\n  expect((await readEvents(db.read, null, 10)).events).toEqual([1, 2])\n})\n"
    holds({
      ordinary: { 'test/read.test.ts': [old, old.replaceAll('readEvents(db.read', 'readSettled(db')] },
      destructive: { 'test/read.test.ts': [old, old.replaceAll('readEvents(db.read', 'readSettled(db').replace('[1, 2]', '[]')] }, code: 'assertion_weakened',
    })
  })

  test('the absence of one thing may become the absence of several', () => {
    const old = "test('keeps out', () => {\n  expect(existsSync(path.join(folder, 'a'))).toBe(false)\n})\n"
    expect(errors({ 'test/out.test.ts': [old, old.replace("expect(existsSync(path.join(folder, 'a'))).toBe(false)", "expect([path.join(folder, 'a'), path.join(folder, 'b')].filter((file) => existsSync(file))).toEqual([])")] })).toEqual([])
  })

  test('snapshots may be updated; the test that compares with one may not be gutted', () => {
    const snapshot = "exports[`renders 1`] = `\n<div>\n  old\n</div>\n`;\n"
    holds({
      ordinary: { 'test/__snapshots__/a.test.js.snap': [snapshot, snapshot.replace('old', 'new')], 'src/a.js': ["export const a = 'old'\n", "export const a = 'new'\n"] },
      destructive: { 'test/a.test.js': ["test('renders', () => {\n  expect(render(a)).toMatchSnapshot()\n})\n", "test('renders', () => {\n  render(a)\n})\n"] }, code: 'assertions_removed',
    })
  })
})

describe('code that goes or moves', () => {
  test('tests may go with the feature that they watch; they may not go while it stays', () => {
    holds({
      ordinary: { 'src/sum.js': [SOURCE, without(SOURCE, 'rounds')], 'test/sum.test.js': [VITEST, without(VITEST, 'rounds')] },
      destructive: { 'src/sum.js': [SOURCE, SOURCE.replace('first + second', 'second + first')], 'test/sum.test.js': [VITEST, without(VITEST, 'rounds')] }, code: 'tests_removed',
    })
  })

  test('a deprecated module may go with its users and tests; its tests alone may not', () => {
    holds({
      ordinary: { 'src/legacy/sum.js': [SOURCE, null], 'test/legacy-sum.test.js': [VITEST, null], 'src/index.js': ["export * from './legacy/sum.js'\nexport * from './new.js'\n", "export * from './new.js'\n"] },
      destructive: { 'test/legacy-sum.test.js': [VITEST, null] }, code: 'test_file_deleted',
    })
  })

  test('a file may be split and left as re-exports; it may not be left as re-exports of nothing new', () => {
    const parts = SOURCE.split('\n\n')
    const barrel = "export * from './sum-a.js'\nexport * from './sum-b.js'\n"
    holds({
      ordinary: { 'src/sum.js': [SOURCE, barrel], 'src/sum-a.js': [null, parts.slice(0, 3).join('\n\n')], 'src/sum-b.js': [null, parts.slice(3).join('\n\n')] },
      destructive: { 'src/sum.js': [SOURCE, barrel] }, code: 'file_gutted',
    })
  })

  test('a test file may be split into several; most of it may not be lost on the way', () => {
    const parts = VITEST.split('\n\n')
    holds({
      ordinary: { 'test/sum.test.js': [VITEST, null], 'test/a.test.js': [null, parts.slice(0, 3).join('\n\n')], 'test/b.test.js': [null, parts.slice(3).join('\n\n')] },
      destructive: { 'test/sum.test.js': [VITEST, null], 'test/a.test.js': [null, parts.slice(0, 2).join('\n\n')] }, code: 'test_file_deleted',
    })
  })

  test('a licence header may go from or come to every file', () => {
    const header = `/*\n${Array.from({ length: 14 }, (_, i) => ` * Copyright line ${i} of the licence that stands here\n`).join('')} */\n`
    holds({
      ordinary: { 'src/a.js': [header + SOURCE, SOURCE], 'src/b.js': [SOURCE, header + SOURCE] },
      destructive: { 'src/a.js': [header + SOURCE + SOURCE.replaceAll('Total', 'Sum'), header] }, code: 'file_gutted',
    })
  })
})

describe('what is not code', () => {
  const prose = (word: string) => Array.from({ length: 120 }, (_, i) => `The ${word} of part ${i} says what ${word} ${i} does and why it matters to readers.\n`).join('\n')

  test('documents may be rewritten or cut; code may not', () => {
    for (const path of ['docs/guide.md', 'README.md', 'CHANGELOG.md', 'docs/index.rst', 'HISTORY.txt']) {
      expect(errors({ [path]: [prose('chapter'), '# New\n\nSee the site.\n'] }), path).toEqual([])
      expect(errors({ [path]: [prose('chapter'), prose('section').slice(0, 900)] }), path).toEqual([])
    }
    expect(errors({ 'src/sum.js': [SOURCE, '// See the site.\n'] })).toContain('file_gutted')
  })

  test('an emptied document is an error', () => {
    expect(errors({ 'docs/guide.md': [prose('chapter'), ''] })).toEqual(['file_emptied'])
  })

  test('configuration, data, translations and lockfiles may be written anew', () => {
    const rows = (word: string, n = 150) => Array.from({ length: n }, (_, i) => `  "${word}${i}": "${word} value ${i}"`).join(',\n')
    for (const path of ['locales/de.json', 'src/lang/fr.json', 'data/countries.json', 'package-lock.json', '.eslintrc.json', 'config/rules.yml', 'renovate.json', 'data/table.csv', 'messages.properties', 'app.toml', '.golangci.yml']) {
      expect(errors({ [path]: [`{\n${rows('old')}\n}\n`, `{\n${rows('new', 12)}\n}\n`] }), path).toEqual([])
    }
  })

  test('vendored and minified files may be replaced', () => {
    for (const path of ['vendor/github.com/x/y/y.go', 'third_party/lib.js', 'static/jquery.min.js', 'docs/_static/theme.js', 'src/parser.generated.ts']) expect(errors({ [path]: [SOURCE, 'var a = 1\n'] }), path).toEqual([])
    const minified = `!function(){${'var a=function(b,c){return b+c*d(e)};'.repeat(80)}}();\n`
    expect(errors({ 'static/site.js': [minified.repeat(30), '!function(){}();\n'] })).toEqual([])
  })
})

describe('examples of secrets', () => {
  const key = 'Zk3vQ9xT7bLm2RwY8cNf4HsJ6dPg1AuE'
  const pem = (kind: string) => `-----BEGIN ${kind} KEY-----\n${`${key}${key}\n`.repeat(12)}-----END ${kind} KEY-----\n`

  test('keys among tests, fixtures and documents are warnings; the same in the product are errors', () => {
    for (const path of ['test/server.key', 'tests/certs/server.pem', 'spec/fixtures/key.pem', 'testdata/rsa.pem', 'internal/tls/testdata/key.pem', 'examples/tls/key.pem', 'src/tls/tls_test.go', 'docs/tls.md', 'test-certs/a.pem', 'pkg/testutil/key.pem']) expect(errors({ [path]: ['a\n', `a\n${pem('RSA PRIVATE')}`] }), path).toEqual([])
    expect(errors({ 'config/server.pem': [null, pem('RSA PRIVATE')] })).toEqual(['secret'])
    for (const path of ['test/auth.test.js', 'docs/usage.md', 'README.md', 'examples/app.js', 'tests/test_auth.py']) expect(errors({ [path]: ['a\n', `a\nconst apiToken = "${key}"\n`] }), path).toEqual([])
    expect(errors({ 'src/auth.js': ['a\n', `a\nconst apiToken = "${key}"\n`] })).toEqual(['secret'])
  })
})
