import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { bareRepository } from '../design/stage.ts'
import { verifyDemo } from './verify.ts'

const file = (name: string): string => readFileSync(fileURLToPath(new URL(`fixtures/${name}`, import.meta.url)), 'utf8')

/** The page of the first ticket: it has tests and starts. */
const PAGE = {
  'package.json': file('skeleton/package.json'), 'index.html': file('skeleton/index.html'), 'src/ui/styles.css': file('skeleton/styles.css'), 'src/ui/dom.js': file('skeleton/dom.js'),
  'src/ui/main.js': file('skeleton/main.js'), 'test/page.test.js': file('skeleton/page.tests.js'),
}

async function verified(files: Record<string, string>) {
  const folder = mkdtempSync(join(tmpdir(), 'swarm-verify-test-'))
  try {
    return await verifyDemo(bareRepository(folder, files))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

test('a main whose tests pass and whose page starts is good', async () => {
  expect(await verified(PAGE)).toMatchObject({ ok: true, problems: [], tests: { passed: 4, failed: 0 }, entry: { modules: ['/src/ui/dom.js', '/src/ui/main.js'], files: ['/src/ui/main.js', '/src/ui/styles.css'], drawn: 'No game is running.' } })
})

test.each([
  { what: 'a failing test', path: 'test/page.test.js', text: "import { test } from 'node:test'\ntest('no', () => { throw new Error('no') })\n", problem: /tests of main do not pass: 1 failed/ },
  { what: 'no test at all', path: 'test/page.test.js', text: null, problem: /Main has no test that passes/ },
  { what: 'a module that does not exist', path: 'src/ui/main.js', text: "import './gone.js'\n", problem: /page does not start: [^]*gone\.js answers 404/ },
  { what: 'a name that the module does not export', path: 'src/ui/main.js', text: "import { gone } from './dom.js'\ngone()\n", problem: /page does not start: [^]*does not provide an export named 'gone'/ },
  { what: 'a package, which no browser finds', path: 'src/ui/main.js', text: "import 'left-pad'\n", problem: /"left-pad", which no browser can find/ },
  { what: 'a syntax error', path: 'src/ui/dom.js', text: 'export const = 1\n', problem: /page does not start: [^]*SyntaxError/ },
  { what: 'an entry point that throws', path: 'src/ui/main.js', text: "document.getElementById('nowhere').append('x')\n", problem: /page does not start: [^]*TypeError/ },
])('$what is a problem', async ({ path, text, problem }) => {
  const { [path as keyof typeof PAGE]: _, ...others } = PAGE
  const result = await verified(text === null ? others : { ...PAGE, [path]: text })
  expect(result.ok).toBe(false)
  expect(result.problems.join('\n')).toMatch(problem)
})

test('tests of main can neither write to this machine, nor read outside the clone, nor start programs', async () => {
  const text = `import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
const denied = { code: 'ERR_ACCESS_DENIED' }
test('confined', () => {
  assert.throws(() => writeFileSync('here.txt', ''), denied)
  assert.throws(() => readFileSync('/etc/hostname'), denied)
  assert.throws(() => execFileSync('/bin/true'), denied)
})
`
  expect(await verified({ ...PAGE, 'test/confined.test.js': text })).toMatchObject({ ok: true, tests: { passed: 5, failed: 0 } })
})
