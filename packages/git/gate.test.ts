import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { emptyTree } from './diff.ts'
import { runGate } from './gate.ts'
import { git } from './run.ts'
import { syntaxProblem } from './syntax.ts'

let repo: string
let base: string
const who = { GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@b' }

async function commit(files: Record<string, string | null>, onto?: string): Promise<string> {
  if (onto) await git(repo, ['checkout', '-q', '--detach', onto])
  for (const [path, text] of Object.entries(files)) {
    if (text === null) await rm(join(repo, path))
    else {
      await mkdir(dirname(join(repo, path)), { recursive: true })
      await writeFile(join(repo, path), text)
    }
  }
  await git(repo, ['add', '-A', '-f'])
  await git(repo, ['commit', '-q', '--allow-empty', '-m', 'x'], { env: who })
  return (await git(repo, ['rev-parse', 'HEAD'])).stdout.trim()
}

const MONEY = 'export function cents(amount) {\n  return Math.round(amount * 100)\n}\n\nexport function euros(count) {\n  return count / 100\n}\n'
beforeAll(async () => {
  repo = await mkdtemp(join(tmpdir(), 'swarm-git-gate-'))
  await git(repo, ['init', '-q', '-b', 'main'])
  base = await commit({
    'src/money.js': MONEY,
    'src/shop.js': "import { cents, euros } from './money.js'\nexport const price = (a) => euros(cents(a))\n",
    'src/dead.js': 'export function unusedHelper() {\n  return 1\n}\n',
    'pkg/tool.py': 'def helper(a):\n    return a\n\n\ndef main():\n    return helper(1)\n',
  })
})
afterAll(() => rm(repo, { recursive: true, force: true }))

const errors = async (from: string, to: string, options = {}) => (await runGate(repo, from, to, options)).findings.filter((each) => each.severity === 'error').map((each) => `${each.code} ${each.path}`)

describe('the gate on a repository', () => {
  test('a first commit and an ordinary one are clean', async () => {
    expect(await errors(await emptyTree(repo), base)).toEqual([])
    expect(await errors(base, await commit({ 'src/money.js': `${MONEY}\nexport const zero = 0\n` }, base))).toEqual([])
  })

  test('a removed function or file that others use is an error, dead ones may go', async () => {
    expect(await errors(base, await commit({ 'src/money.js': MONEY.slice(0, MONEY.indexOf('export function euros')) }, base))).toEqual(['still_in_use src/money.js'])
    expect(await errors(base, await commit({ 'src/money.js': null }, base))).toEqual(['still_in_use src/money.js'])
    expect(await errors(base, await commit({ 'pkg/tool.py': 'def main():\n    return helper(1)\n' }, base))).toEqual(['still_in_use pkg/tool.py'])
    expect(await errors(base, await commit({ 'src/dead.js': null }, base))).toEqual([])
  })

  test('a rename with its users changed is clean', async () => {
    const head = await commit({ 'src/money.js': null, 'lib/money.js': MONEY, 'src/shop.js': "import { cents, euros } from '../lib/money.js'\nexport const price = (a) => euros(cents(a))\n" }, base)
    expect(await errors(base, head)).toEqual([])
  })

  test('broken syntax is an error where it could be read before', async () => {
    expect(await errors(base, await commit({ 'src/dead.js': 'export function unusedHelper() {\n  return 1\n' }, base))).toEqual(['syntax_error src/dead.js'])
  })

  test('what the base gained meanwhile is not blamed on the head', async () => {
    const head = await commit({ 'src/new.js': 'export const a = 1\n' }, base)
    const moved = await commit({ 'src/other.js': 'export const b = 1\n' }, base)
    expect(await errors(moved, head, { scope: ['src/new.js'] })).toEqual([])
    expect(await errors(moved, head, { scope: ['src/new.js'], exactBase: true })).toEqual(['out_of_scope src/other.js'])
  })

  test('nothing is an empty diff, and no revision is a clear error', async () => {
    expect(await errors(base, base)).toEqual(['empty_diff '])
    await expect(runGate(repo, base, 'nowhere')).rejects.toMatchObject({ code: 'unknown_revision' })
  })
})

describe('syntax', () => {
  const good: [string, string][] = [
    ['a.js', 'const a = <b>{c}</b>\n'], ['a.ts', 'export const a = <T,>(b: T): T => b\nenum X { a }\n'], ['a.json', '{"a": 1}'], ['tsconfig.json', '{\n // why\n "a": [1,],\n}'],
    ['a.yml', 'a: 1\nb: [1, 2]\n'], ['chart.yaml', '{{- if .x }}\na: {{ .b }}\n{{- end }}\n'],
    ['a.py', 'def f(\n    a: int,\n) -> None:\n    """\n  text: (\n    """\n\n@x\nclass A:\n    def g(self): return {\n  "a": 1}\n\n    match = 1\nif a: pass\nelse:\n    """only text"""\n'],
    ['a.go', 'package a\n\nfunc f() string { return `{` + "}" + string(\'{\') }\n'], ['a.rs', "fn f<'a>(x: &'a str) -> char { '{' }\n"], ['a.css', 'a { color: red }\n@media x { b { c: url(d;e) } }\n'], ['a.html', '<!doctype html><html><body><p>x<br></body></html>\n'],
  ]
  const bad: [string, string][] = [
    ['a.js', 'function f() {\n'], ['a.ts', 'const a: = 1\n'], ['a.json', '{"a": 1'], ['package.json', '{"a": 1,}'], ['a.yml', 'a: [1, 2\nb: "\n'], ['a.py', 'def f()\n    return 1\n'], ['a.py', 'def f():\nreturn 1\n'], ['a.py', 'a = (1\n'], ['a.py', 'if a:\n    b\n  c\n'],
    ['a.go', 'func f() {\n'], ['a.rs', 'fn f() { (}\n'], ['a.css', 'a { color: red\n'], ['a.html', '<html><body><script>x\n'],
  ]
  test.each(good)('%s that can be read has no finding', (path, text) => expect(syntaxProblem(path, text)).toBeNull())
  test.each(bad)('%s that is broken has one', (path, text) => expect(syntaxProblem(path, text)).not.toBeNull())
})
