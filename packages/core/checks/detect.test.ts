import { describe, expect, test } from 'vitest'
import { detectChecks, type Tree } from './detect.ts'
import { canonicalPlan, DEFAULT_LIMITS, planPassed, type CheckPlan } from './plan.ts'

function tree(files: Record<string, string>): Tree {
  return { files: Object.keys(files), read: (path) => files[path] ?? null }
}

describe('detection of checks', () => {
  test('scripts of package.json are used, lint before test, and dependencies are installed', () => {
    const found = detectChecks(tree({ 'package.json': '{"scripts":{"test":"vitest","lint":"eslint ."},"devDependencies":{"vitest":"1"}}', 'package-lock.json': '{}' }))
    expect(found.checks).toEqual([{ name: 'lint', command: 'npm run lint' }, { name: 'test', command: 'npm test' }])
    expect(found.setup).toBe('npm ci')
    expect(found.egressAllow).toEqual(['preset:npm'])
  })
  test('nothing is installed where nothing is depended on', () => {
    expect(detectChecks(tree({ 'package.json': '{"scripts":{"test":"node --test"}}' }))).toMatchObject({ setup: null, egressAllow: [] })
  })
  test('the placeholder that npm init writes is no test', () => {
    expect(detectChecks(tree({ 'package.json': '{"scripts":{"test":"echo \\"Error: no test specified\\" && exit 1"}}' })).checks).toEqual([])
  })
  test('test files without a script run by node --test', () => {
    expect(detectChecks(tree({ 'src/a.test.js': '', 'package.json': '{}' })).checks).toEqual([{ name: 'test', command: 'node --test' }])
    expect(detectChecks(tree({ 'src/contest.js': '' })).checks).toEqual([])
  })
  test('python, go, rust and make are found', () => {
    expect(detectChecks(tree({ 'tests/test_a.py': '' })).checks[0]?.command).toBe('python3 -m pytest -q')
    expect(detectChecks(tree({ 'go.mod': '' })).checks.map((check) => check.command)).toEqual(['go vet ./...', 'go test ./...'])
    expect(detectChecks(tree({ 'Cargo.toml': '' })).checks[0]?.command).toBe('cargo test')
    expect(detectChecks(tree({ Makefile: 'all: x\n\ntest: all\n\t./run\n' })).checks[0]?.command).toBe('make test')
    expect(detectChecks(tree({ Makefile: 'test := 3\n' })).checks).toEqual([])
  })
  test('a manifest that does not parse names no checks', () => {
    expect(detectChecks(tree({ 'package.json': '{' })).checks).toEqual([])
  })
})

describe('a plan', () => {
  const plan: CheckPlan = { setup: null, checks: [{ name: 'a', command: 'x' }, { name: 'b', command: 'y' }], image: { packages: ['p', 'q'], npm: [] }, egressAllow: [], limits: DEFAULT_LIMITS }
  test('has one spelling, in which the order of checks counts and that of packages does not', () => {
    expect(canonicalPlan({ ...plan, image: { packages: ['q', 'p'], npm: [] } })).toBe(canonicalPlan(plan))
    expect(canonicalPlan({ ...plan, checks: plan.checks.toReversed() })).not.toBe(canonicalPlan(plan))
  })
  test('passes only when each of its checks ran and ended with 0', () => {
    const good = { exitCode: 0, timedOut: false }
    expect(planPassed(plan, [{ name: 'a', ...good }, { name: 'b', ...good }])).toBe(true)
    expect(planPassed(plan, [{ name: 'a', ...good }])).toBe(false)
    expect(planPassed(plan, [{ name: 'a', ...good }, { name: 'b', exitCode: 1, timedOut: false }])).toBe(false)
    expect(planPassed(plan, [{ name: 'setup', exitCode: null, timedOut: false }, { name: 'a', ...good }, { name: 'b', ...good }])).toBe(false)
    expect(planPassed(plan, [{ name: 'a', exitCode: 0, timedOut: true }, { name: 'b', ...good }])).toBe(false)
  })
})
