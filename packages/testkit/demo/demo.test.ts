import { predictFiles } from '@swarm/core/tickets/predicted-files.ts'
import { parseSwarmYml } from '@swarm/server/features/checks/swarm-yml.ts'
import { describe, expect, test } from 'vitest'
import { readScript } from '../rehearsal/script.ts'
import { readDemo } from './demo.ts'
import { rehearseOnHost } from './host-rehearsal.ts'
import { verifyDemo } from './verify.ts'

const demo = readDemo()
const check = parseSwarmYml(demo.files['swarm.yml'] ?? '').checks?.list[0]?.command ?? ''

/** What goes wrong whatever the order in which tickets merge. */
const ALWAYS = [
  { ticket: 'rounds', attempt: 1, kind: 'gate', codes: ['test_skipped'] },
  { ticket: 'undo', attempt: 1, kind: 'gate' },
]

describe.each([
  { order: 'as planned', sort: (keys: readonly string[]) => keys, second: { conflict: 'ranking', red: 'export' } },
  { order: 'the other way round', sort: (keys: readonly string[]) => keys.toReversed(), second: { conflict: 'announcer', red: 'table' } },
])('the demo, merged $order', ({ sort, second }) => {
  test('goes wrong exactly where it should, learns from it, and ends with an app that works', async () => {
    await using run = await rehearseOnHost({ spec: demo.specText, script: await readScript(demo.scriptFile), files: demo.files, check, answers: demo.answers, order: sort })

    expect(run.plan.tickets.length).toBeGreaterThanOrEqual(10)
    expect(run.plan.waves).toEqual([
      ['skeleton'], ['announcer', 'players', 'scoring', 'ranking', 'storage'], ['rounds', 'table', 'export'], ['undo'], ['play'],
    ])
    expect(run.plan.findings).toEqual([])
    // Otherwise they would not run at the same time, and nothing would conflict.
    for (const wave of run.plan.waves) {
      const predicted = run.plan.tickets.filter(({ key }) => wave.includes(key)).map(predictFiles)
      for (const [index, files] of predicted.entries()) for (const others of predicted.slice(index + 1)) expect(files.filter((path) => others.includes(path))).toEqual([])
    }

    expect(run.incidents.filter(({ kind }) => kind === 'gate')).toMatchObject(ALWAYS)
    expect(run.incidents.find(({ ticket }) => ticket === 'undo')?.codes).toContain('file_gutted')
    expect(run.incidents.filter(({ kind }) => kind !== 'gate').map(({ ticket, attempt, kind }) => ({ ticket, attempt, kind }))).toEqual([
      { ticket: second.conflict, attempt: 1, kind: 'merge_conflict' },
      { ticket: second.red, attempt: 1, kind: 'merged_tree_red' },
    ])
    const [conflict, red] = run.incidents.filter(({ kind }) => kind !== 'gate')
    expect(conflict?.text).toMatch(/CONFLICT[^]*index\.html[^]*on main now[^]*in this change/)
    expect(red?.text).toContain("does not provide an export named 'scoreRound'")
    // Its merges are all of those that --yes decides.
    expect(run.warnings).toEqual([])
    expect(run.retried).toBe(2)
    expect(run.answered).toMatchObject([{ ticket: 'storage', answer: demo.answers[0]?.answer }])
    expect(run.status).toMatchObject({ unmet: [], unmatched: [], remaining: [] })

    const verified = await verifyDemo(run.path)
    expect(verified.problems).toEqual([])
    expect(verified).toMatchObject({ ok: true, tests: { failed: 0, skipped: 0 } })
    expect(verified.tests.passed).toBeGreaterThanOrEqual(40)
    expect(verified.entry.modules).toHaveLength(11)
    expect(verified.entry.drawn).toMatch(/Player 1 .*Start the game/)
  }, 180_000)
})
