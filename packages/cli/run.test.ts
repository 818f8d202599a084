import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import { peakOf } from './run/summary.ts'
import { slugOf } from './run/inputs.ts'
import { makeDesk, saying, script, SHOP, SPEC } from './testing.ts'

/** A run goes through server, runner, agent, gate, checks and merge; under load each of those takes a while. */
const RUN_MS = 240_000
const KEYS = ['model', 'driver', 'tickets', 'merged', 'mainGreen', 'gateFindings', 'repository', 'head', 'vms', 'costMicroUsd', 'setupMs', 'wallMs']

test('a spec becomes a merged, checked change; the origin is untouched until --push', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  desk.write('spec.md', SPEC)
  desk.write('script.yml', script())
  const shop = await desk.repository('shop', SHOP)
  const before = (await git(shop, ['for-each-ref'])).stdout
  const ran = await desk.swarm(['run', '--spec', 'spec.md', '--repo', 'shop', '--rehearsal', 'script.yml', '--yes', '--json'])
  expect(ran.code, ran.stderr).toBe(0)
  expect(Object.keys(ran.json)).toEqual(KEYS)
  expect(ran.json).toMatchObject({
    model: 'rehearsal', driver: 'process', merged: 1, mainGreen: true, gateFindings: 0, vms: { leaked: 0 },
    tickets: [{ id: expect.stringMatching(/^TKT-/) as string, title: 'Greet by name', state: 'done', attempts: 1, changes: 1 }],
  })
  expect(ran.stderr).toContain('REHEARSAL')
  expect((await git(shop, ['for-each-ref'])).stdout).toBe(before)
  expect((await git(String(ran.json['repository']), ['show', 'main:src/greet.js'])).stdout).toContain('Hello')
  expect((await git(shop, ['status', '--porcelain'])).stdout).toBe('')
})

test('without a person and without --yes it stops at the plan, names the approval and the command, and goes on later', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  desk.write('spec.md', SPEC)
  desk.write('script.yml', script())
  await desk.repository('shop', SHOP)
  const args = ['run', '--spec', 'spec.md', '--repo', 'shop', '--rehearsal', 'script.yml', '--json']
  const stopped = await desk.swarm(args)
  expect(stopped).toMatchObject({ code: 4, json: { error: { code: 'decision_needed', message: expect.stringMatching(/spec_approval of "Greeter" \(APR-/) as string, remedy: expect.stringMatching(/swarm approval approve APR-.*--yes/) as string } } })
  const ran = await desk.swarm([...args, '--yes'])
  expect(ran.code, ran.stderr).toBe(0)
  expect(ran.stderr).toMatch(/going on with SES-/)
  expect(ran.json).toMatchObject({ merged: 1, mainGreen: true })
})

test('--yes leaves a merge that nothing has checked to a person', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  desk.write('spec.md', SPEC)
  desk.write('script.yml', script().replace(/\n.*test\/greet.test.js, content.*\n/, '\n'))
  await desk.repository('shop', { 'NOTES.md': 'no checks here\n' })
  const stopped = await desk.swarm(['run', '--spec', 'spec.md', '--repo', 'shop', '--rehearsal', 'script.yml', '--yes', '--json'])
  expect(stopped, stopped.stderr).toMatchObject({ code: 4, json: { error: { code: 'decision_needed', message: expect.stringMatching(/merge of "Greet by name" \(APR-/) as string } } })
})

test('killed in the middle of an agent\'s work, the same command goes on with the same session', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  desk.write('spec.md', SPEC)
  desk.write('script.yml', script(3_000))
  await desk.repository('shop', SHOP)
  const args = ['run', '--spec', 'spec.md', '--repo', 'shop', '--rehearsal', 'script.yml', '--yes', '--json']
  const child = desk.spawn(args)
  const said = await saying(child, /runs the agent/)
  child.kill('SIGKILL')
  await once(child, 'close')
  const session = /session (SES-\w+)/.exec(said)?.[1]
  const ran = await again()
  expect(ran.code, ran.stderr).toBe(0)
  expect(ran.stderr).toContain(`going on with ${session}`)
  expect(ran.json).toMatchObject({ merged: 1, mainGreen: true, vms: { leaked: 0 } })

  /** Right after the kill the old processes may still be ending, which the lock says. */
  async function again(): ReturnType<typeof desk.swarm> {
    for (;;) {
      const tried = await desk.swarm(args)
      if ((tried.json as { error?: { code?: string } }).error?.code !== 'already_running') return tried
    }
  }
})

test('a rehearsal that meets what its script does not expect fails the run, whatever was merged', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  desk.write('spec.md', SPEC)
  desk.write('script.yml', script().replace('finish: The module', 'expect: [words that never come]\n        finish: The module'))
  await desk.repository('shop', SHOP)
  const ran = await desk.swarm(['run', '--spec', 'spec.md', '--repo', 'shop', '--rehearsal', 'script.yml', '--yes', '--json'])
  expect(ran.code).toBe(1)
  expect(ran.stderr).toMatch(/The rehearsal failed: .*words that never come/)
})

test('a ticket that cannot be done ends the run with its reason and how to try again', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  desk.write('spec.md', SPEC)
  // Its agent works outside of the ticket's scope, every time.
  desk.write('script.yml', script().replace('path: src/greet.js', 'path: lib/greet.js'))
  await desk.repository('shop', SHOP)
  const ran = await desk.swarm(['run', '--spec', 'spec.md', '--repo', 'shop', '--rehearsal', 'script.yml', '--yes', '--json'])
  expect(ran.code).toBe(1)
  expect(ran.json).toMatchObject({ merged: 0, tickets: [{ state: 'on_hold', attempts: 3, changes: 0 }], vms: { leaked: 0 } })
  expect(ran.stderr).toContain('out_of_scope lib/greet.js')
  expect(ran.stderr).toMatch(/swarm ticket retry TKT-/)
})

test('on a platform that runs already, its model is used and it goes on running; --new makes the repository', { timeout: RUN_MS }, async () => {
  await using desk = makeDesk()
  desk.write('spec.md', SPEC)
  desk.write('script.yml', script())
  expect(await desk.swarm(['start', '--port', '0', '--rehearsal', 'script.yml', '--json'])).toMatchObject({ code: 0 })
  expect(await desk.swarm(['run', '--spec', 'spec.md', '--new', 'greeter', '--rehearsal', 'script.yml', '--json'])).toMatchObject({ code: 2, json: { error: { code: 'server_has_model' } } })
  const ran = await desk.swarm(['run', '--spec', 'spec.md', '--new', 'greeter', '--yes', '--json'])
  expect(ran.code, ran.stderr).toBe(0)
  expect(ran.json).toMatchObject({ model: 'rehearsal', merged: 1, vms: { leaked: 0 } })
  const [ticket] = ran.json['tickets'] as { id: string }[]
  expect(await desk.swarm(['ticket', 'why', ticket?.id ?? '', '--json'])).toMatchObject({ code: 0, json: { state: 'done', can: [] } })
  expect((await desk.swarm(['ticket', 'logs', ticket?.id ?? ''])).stdout).toContain('write_file')
  expect((await desk.swarm(['change', 'diff', ticket?.id ?? ''])).stdout).toContain('+export const greet')
  expect(await desk.swarm(['status', '--json'])).toMatchObject({ code: 0, json: { running: true, model: 'rehearsal' } })
  const approvals = (await desk.swarm(['approval', 'list', '--status', 'all', '--json'])).json['approvals'] as { kind: string; decidedBy: string }[]
  expect(approvals.map(({ kind, decidedBy }) => [kind, decidedBy.includes('(--yes)')])).toEqual(expect.arrayContaining([['spec_approval', true], ['build_start', true], ['merge', true]]))
})

test('rehearsal init writes a script that can be played, and replaces nothing unasked', { timeout: 60_000 }, async () => {
  await using desk = makeDesk()
  desk.write('spec.md', SPEC)
  expect(await desk.swarm(['rehearsal', 'init', 'spec.md', '--json'])).toMatchObject({ code: 0, json: { script: join(desk.folder, 'spec.rehearsal.yml') } })
  expect(readFileSync(join(desk.folder, 'spec.rehearsal.yml'), 'utf8')).toContain('R1')
  expect(await desk.swarm(['rehearsal', 'init', 'spec.md', '--json'])).toMatchObject({ code: 2, json: { error: { code: 'file_exists' } } })
  rmSync(join(desk.folder, 'spec.rehearsal.yml'))
})

test('the peak counts microVMs that exist at one moment', () => {
  expect(peakOf([])).toBe(0)
  expect(peakOf([{ startedAt: 0, endedAt: 5 }, { startedAt: 5, endedAt: 9 }])).toBe(1)
  expect(peakOf([{ startedAt: 0, endedAt: 5 }, { startedAt: 4, endedAt: null }, { startedAt: 4, endedAt: 6 }])).toBe(3)
})

test('any name becomes one that is fit for a project', () => {
  expect(['My Shop.git', '--', 'Ünïcode', 'a'.repeat(80)].map(slugOf)).toEqual(['my-shop-git', 'repository', 'n-code', 'a'.repeat(50)])
})
