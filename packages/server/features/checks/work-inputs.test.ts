import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { canonicalPlan } from '@swarm/core/checks/plan.ts'
import { readRepositoryPlan } from './plan.ts'
import { createWorkInputs } from './work-inputs.ts'

let folder: string
let main: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'swarm-inputs-test-'))
  git('init', '-q', '-b', 'main')
  main = commit({ 'package.json': '{"dependencies":{"a":"1.0.0"},"scripts":{"test":"x"}}', 'package-lock.json': '{"v":1}', 'src/a.js': '1', 'tools/x.sh': '#!/bin/sh\n' })
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const git = (...args: string[]) => execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], { cwd: folder, encoding: 'utf8' }).trim()
function commit(files: Record<string, string>): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  git('add', '-A')
  git('commit', '-q', '-m', 'x')
  return git('rev-parse', 'HEAD')
}
const repository = () => join(folder, '.git')
const inputs = () => createWorkInputs({ place: async () => ({ path: repository(), main }) })
const layer = (at: string, base?: string, plan: { setup: string | null; setupInputs?: string[] } = { setup: 'npm ci' }) => inputs().layer('REP', { commit: at, ...(base === undefined ? {} : { base }) }, plan)

describe('the layer of a piece of work', () => {
  test('is the same for commits whose lockfiles are equal, whatever else they change, and may be made', async () => {
    const [ofMain, ofWork] = [await layer(main), await layer(commit({ 'src/a.js': '2', 'src/b.js': '' }))]
    expect(ofMain).toEqual({ inputs: expect.stringMatching(/^[0-9a-f]{64}$/), paths: ['package-lock.json', 'package.json'], make: true })
    expect(ofWork).toEqual(ofMain)
  })
  test('of work that changes a lockfile is another, and may only be used, not made, until main has it', async () => {
    const changed = commit({ 'package-lock.json': '{"v":2}' })
    expect(await layer(changed)).toMatchObject({ make: false })
    expect((await layer(changed))?.inputs).not.toBe((await layer(main))?.inputs)
    main = changed
    expect(await layer(changed)).toMatchObject({ make: true })
  })
  test('of work on a commit that main has left behind may be made from that', async () => {
    const base = main
    const work = commit({ 'src/a.js': '2' })
    main = commit({ 'package-lock.json': '{"v":2}' })
    expect(await layer(work)).toMatchObject({ make: false })
    expect(await layer(work, base)).toMatchObject({ make: true })
  })
  test('is none without a setup, for a setup that may read anything, and when a manifest is a link', async () => {
    expect(await layer(main, undefined, { setup: null })).toBeNull()
    expect(await layer(main, undefined, { setup: 'make deps' })).toBeNull()
    expect(await layer(main, undefined, { setup: './tools/x.sh', setupInputs: ['tools/'] })).toMatchObject({ paths: ['package-lock.json', 'package.json', 'tools/x.sh'] })
    symlinkSync('package.json', join(folder, 'tools', 'package.json'))
    expect(await layer(commit({}))).toBeNull()
  })
  test('changes with the mode of a file', async () => {
    const before = await layer(main, undefined, { setup: './tools/x.sh', setupInputs: ['tools/'] })
    chmodSync(join(folder, 'tools/x.sh'), 0o755)
    expect((await layer(commit({}), undefined, { setup: './tools/x.sh', setupInputs: ['tools/'] }))?.inputs).not.toBe(before?.inputs)
  })
})

describe('files of an image', () => {
  const plan = async (yml: string, more: Record<string, string> = {}) => readRepositoryPlan(repository(), commit({ 'swarm.yml': yml, ...more }))
  test('are taken from the base commit, binary ones too, and are part of the plan', async () => {
    writeFileSync(join(folder, 'tools/bin'), Buffer.from([0, 255, 10]))
    const planned = await plan('image:\n  files:\n    - { from: tools/bin, to: /usr/local/bin/x, mode: 0755 }\n')
    expect(await inputs().image('REP', planned.image)).toEqual({ packages: [], npm: [], files: [{ path: '/usr/local/bin/x', mode: 0o755, content: Buffer.from([0, 255, 10]).toString('base64') }] })
    const other = await plan('image:\n  files:\n    - { from: tools/bin, to: /usr/local/bin/x, mode: 0755 }\n', { 'tools/bin': 'other' })
    expect(canonicalPlan(other)).not.toBe(canonicalPlan(planned))
  })
  test.each([['that is not there', 'nowhere'], ['that is a folder', 'tools'], ['that is a link', 'link'], ['with a wildcard for a name', 'tools/*']])('one %s is refused with its line', async (_title, from) => {
    symlinkSync('/etc/passwd', join(folder, 'link'))
    await expect(plan(`image:\n  files:\n    - from: ${from}\n      to: /etc/x\n`)).rejects.toMatchObject({ code: 'swarm_yml_invalid', details: { line: 4, problem: expect.stringContaining(from) } })
  })
  test('that are too large together are refused', async () => {
    await expect(plan('image:\n  files:\n    - { from: big, to: /etc/x }\n', { big: 'x'.repeat(1024 ** 2 + 1) })).rejects.toMatchObject({ code: 'swarm_yml_invalid', details: { problem: expect.stringContaining('larger') } })
  })
  test('a plan without them is spelled as it always was', async () => {
    expect(canonicalPlan(await readRepositoryPlan(repository(), main))).not.toMatch(/files|setupInputs/)
  })
})
