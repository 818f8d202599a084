import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import { rehearseOnHost } from '../demo/host-rehearsal.ts'
import { readScript } from '../rehearsal/script.ts'
import { findSample } from './samples.ts'

const sample = findSample('units')
if (!sample) throw new Error('there is no sample named units')

function filesBelow(folder: string): Record<string, string> {
  const paths = readdirSync(folder, { recursive: true }).map((name) => join(folder, String(name))).filter((path) => statSync(path).isFile())
  return Object.fromEntries(paths.map((path) => [relative(folder, path), readFileSync(path, 'utf8')]))
}

test('the program makes a repository with one commit, the same every time, whose tests pass', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'swarm-sample-'))
  try {
    const make = (name: string): { repository: string; head: string; spec: string; script: string } => JSON.parse(execFileSync(process.execPath, [fileURLToPath(new URL('main.ts', import.meta.url)), 'units', join(folder, name)], { encoding: 'utf8' })) as never
    const [one, two] = [make('one'), make('two')]
    expect(one).toMatchObject({ repository: join(folder, 'one'), spec: sample.spec, script: sample.script, head: two.head })
    expect((await git(one.repository, ['status', '--porcelain'])).stdout).toBe('')
    expect((await git(one.repository, ['ls-files'])).stdout.trim().split('\n')).toEqual(Object.keys(filesBelow(sample.repository)).toSorted())
    execFileSync(process.execPath, ['--test'], { cwd: one.repository, stdio: 'pipe' })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('its script turns the spec into four changes that keep the tests green', async () => {
  await using run = await rehearseOnHost({ spec: readFileSync(sample.spec, 'utf8'), script: await readScript(sample.script), files: filesBelow(sample.repository), check: 'node --test --test-isolation=none' })
  expect(run.plan.greenfield).toBe(false)
  expect(run.plan.waves).toEqual([['temperature', 'suggest', 'precision'], ['list']])
  expect(run.plan.findings.map(({ code, place }) => ({ code, place }))).toEqual([{ code: 'overlap_ordered', place: ['precision', 'list'] }])
  expect(run.incidents).toEqual([])
  expect(run.status).toMatchObject({ unmet: [], unmatched: [], remaining: [] })
  expect((await git(run.path, ['log', '--format=%s', 'main'])).stdout.trim().split('\n')).toHaveLength(5)
  for (const [path, text] of Object.entries(filesBelow(join(sample.repository, 'test')))) expect((await git(run.path, ['show', `main:test/${path}`])).stdout).toBe(text)
}, 180_000)
