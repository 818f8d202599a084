// The test run judged from outside: what it counts, what it prints last, when it fails.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'

const project = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
let root

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'run-'))
  for (const name of ['bin', 'scripts', 'vitest.config.ts', 'package.json', 'tsconfig.json']) {
    cpSync(join(project, name), join(root, name), { recursive: true, filter: (path) => !path.endsWith('.test.mjs') })
  }
  mkdirSync(join(root, 'node_modules'))
  for (const name of readdirSync(join(project, 'node_modules'))) symlinkSync(join(project, 'node_modules', name), join(root, 'node_modules', name))
  mkdirSync(join(root, 'packages', 'core'), { recursive: true })
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function runTests(files, { args = [], env = {} } = {}) {
  for (const [name, body] of Object.entries(files)) writeFileSync(join(root, 'packages', 'core', name), `import { describe, expect, test } from 'vitest'\n${body}\n`)
  return new Promise((resolve) => {
    execFile(process.execPath, [join(root, 'scripts', 'test.mjs'), ...args], { env: { ...process.env, CI: '', SWARM_TEST_SHARED_MACHINE: '1', ...env } }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, lines: stdout.trim().split('\n'), output: stdout + stderr })
    })
  })
}

test('the last line sums up all phases, and skips are printed with their reason', async () => {
  const { code, lines, output } = await runTests({
    'a.test.ts': "test('one', () => expect(1).toBe(1))\ntest('two', ({ skip }) => skip('the moon is new'))\ndescribe.skip('tides (no sea here)', () => { test('three', () => expect(1).toBe(1)) })",
    'b.vm.test.ts': "test('three', () => expect(3).toBe(3))",
    'c.netns.test.ts': "test('four', () => expect(4).toBe(4))",
  })
  expect(lines.at(-1)).toBe('3 passed, 0 failed, 2 skipped')
  expect(output).toContain('packages/core/a.test.ts > two\n         the moon is new')
  expect(output).toContain('tides (no sea here) > three\n         no sea here')
  expect(code).toBe(0)
})

test('a failing test, a file that does not load and an error outside of tests each fail the run', async () => {
  const { code, lines } = await runTests({
    'a.test.ts': "test('wrong', () => expect(1).toBe(2))",
    'b.test.ts': "throw new Error('does not load')",
    'c.test.ts': "test('right', () => { void Promise.reject(new Error('nobody listens')) ; expect(1).toBe(1) })",
  })
  expect(lines.at(-1)).toBe('1 passed, 3 failed, 0 skipped')
  expect(code).toBe(1)
})

test('in continuous integration a skip without a listed reason fails the run', async () => {
  const files = { 'a.test.ts': "test('one', ({ skip }) => skip('KVM does not boot a kernel here'))\ntest.skip('two', () => expect(1).toBe(1))" }
  const { code, lines, output } = await runTests(files, { env: { CI: 'true' } })
  expect(lines.at(-1)).toBe('0 passed, 1 failed, 2 skipped')
  expect(output).toContain('packages/core/a.test.ts > two (no reason given)')
  expect(code).toBe(1)
})

test('a process that a test leaves behind fails the run, is named and is ended', async () => {
  const { code, output } = await runTests({ 'a.test.ts': "import { spawn } from 'node:child_process'\ntest('one', () => { spawn('sleep', ['77'], { detached: true, stdio: 'ignore' }).unref(); expect(1).toBe(1) })" })
  const [, pid] = /left behind: process (\d+) sleep 77/.exec(output) ?? []
  expect(pid, output).toBeDefined()
  // Where nobody reaps orphans (a container whose first process is no init) a killed one stays as a zombie; the kernel takes a moment.
  await expect.poll(() => existsSync(`/proc/${pid}/status`) ? readFileSync(`/proc/${pid}/status`, 'utf8') : 'State:\tgone', { timeout: 10_000 }).toMatch(/^State:\t(Z|gone)/m)
  expect(code).toBe(1)
})

test('a filter that matches nothing fails the run', async () => {
  const { code, lines } = await runTests({ 'a.test.ts': "test('one', () => expect(1).toBe(1))" }, { args: ['packages/nowhere'] })
  expect(lines.at(-1)).toBe('0 passed, 1 failed, 0 skipped')
  expect(code).toBe(1)
})
