import { git } from '@swarm/git/run.ts'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { interposed, mergePathOver, type MergePath } from './testing.ts'

/** Green alone when they were checked. On main: `guilty` is red beside trap.txt, `left` and `right` are red beside each other. */
const RULES = `checks:
  test: "! { test -f trap.txt && ls | grep -q ^guilty; } && ! { ls | grep -q ^left && ls | grep -q ^right; }"
`
const KINDS = ['good', 'guilty', 'left', 'right', 'conflict'] as const
type Kind = (typeof KINDS)[number]

type Step = { do: 'step' | 'check' | 'push' } | { do: 'kill'; at: number; side: 'before' | 'after' }
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ do: 'step' as const }) },
  { weight: 3, arbitrary: fc.constant({ do: 'check' as const }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('kill' as const), at: fc.integer({ min: 1, max: 4 }), side: fc.constantFrom('before' as const, 'after' as const) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'push' as const }) },
)
const Case = fc.record({ kinds: fc.array(fc.constantFrom(...KINDS), { minLength: 2, maxLength: 6 }), batchSize: fc.integer({ min: 1, max: 6 }), steps: fc.array(steps, { maxLength: 14 }) })

/** Each with a file of its own, but the conflicting ones, which all write the same. */
function filesOf(kind: Kind, n: number): Record<string, string> {
  return kind === 'conflict' ? { 'shared.txt': `${n}\n` } : { [`${kind}-${n}.txt`]: `${n}\n` }
}

/** Runs the schedule, every step by a process that knows nothing but the home; gives the commits that somebody else pushed. */
async function disturb(world: MergePath, steps: readonly Step[]): Promise<string[]> {
  const pushed = [await world.push({ 'trap.txt': 'x\n' })]
  for (const step of steps) {
    if (step.do === 'push') pushed.push(await world.push({ [`outside-${pushed.length}.txt`]: 'x\n' }))
    if (step.do === 'check') await world.runCheck()
    if (step.do === 'step') await world.duty('merge queue', world.replica())
    if (step.do === 'kill') {
      const dying = world.replica(interposed(world.db, { at: step.at, [step.side]: () => Promise.reject(new Error('killed')) }))
      for (let moved = true; moved;) {
        moved = await world.duty('merge queue', dying).catch((error: unknown) => {
          if (error instanceof Error && error.message === 'killed') return false
          throw error
        })
      }
    }
  }
  return pushed
}

async function holds(world: MergePath, kinds: readonly Kind[], ids: readonly string[], pushed: readonly string[]): Promise<void> {
  const { db } = world
  const states = await Promise.all(ids.map(async (id) => (await world.ticket(id)).state))
  const of = (kind: Kind) => states.filter((_, n) => kinds[n] === kind)
  // Nothing stuck: each landed or went back.
  expect(states.filter((state) => state !== 'done' && state !== 'changes_requested')).toEqual([])
  expect(await db.read.selectFrom('merge_batches').select('id').where('state', '=', 'checking').execute()).toEqual([])
  expect(of('good').filter((state) => state !== 'done')).toEqual([])
  expect(of('guilty').filter((state) => state !== 'changes_requested')).toEqual([])
  expect(of('conflict').filter((state) => state === 'done')).toHaveLength(Math.min(1, of('conflict').length))
  // Of the two sides that do not go together the whole of one landed.
  const sides = [of('left'), of('right')].filter((side) => side.length > 0).map((side) => [...new Set(side)])
  expect(sides.filter((side) => side.length > 1)).toEqual([])
  expect(sides.filter(([state]) => state === 'done')).toHaveLength(Math.min(1, sides.length))

  // What is on main is what landed, and nothing else of ours.
  const files = (await git(world.path, ['ls-tree', '--name-only', 'main'])).stdout.trim().split('\n')
  for (const [n, kind] of kinds.entries()) if (kind !== 'conflict') expect(files.includes(`${kind}-${n}.txt`)).toBe(states[n] === 'done')

  // Every value that the queue gave main passed its checks, and each batch gave it one.
  const ours = (await world.mainHistory()).slice(1).filter((sha) => !pushed.includes(sha))
  expect(await world.unproven(ours)).toEqual([])
  const landed = await db.read.selectFrom('merge_batches').select('head_sha').where('state', '=', 'landed').orderBy('created_at').execute()
  expect(ours).toEqual(landed.map((batch) => batch.head_sha))

  // Told once, and the events say what the tables say.
  expect(await db.read.selectFrom('events').select('seq').where('type', '=', 'change:merged').execute()).toHaveLength(states.filter((state) => state === 'done').length)
  const told = new Map<string, string>()
  for (const event of await db.read.selectFrom('events').select(['subject_id', 'data']).where('type', 'in', ['merge:update', 'batch:update']).orderBy('seq').execute()) told.set(event.subject_id, (JSON.parse(event.data) as { to: string }).to)
  const recorded = [...await db.read.selectFrom('merge_batches').select(['id', 'state']).execute(), ...await db.read.selectFrom('merge_entries').select(['change_id as id', 'state']).execute()]
  expect(Object.fromEntries(told)).toEqual(Object.fromEntries(recorded.map((row) => [row.id, row.state])))
  // No permit of a batch that is over; a kill may leave one of a batch that was never recorded.
  const permits = (await git(world.path, ['for-each-ref', '--format=%(refname:lstrip=3)', 'refs/swarm/batches'])).stdout.trim().split('\n')
  expect(recorded.filter((row) => permits.includes(row.id))).toEqual([])
}

eachDialect((dialect, make) => {
  test('whatever is queued, killed and pushed past it: main only ever has what passed, the guilty go back, all others land, each batch once', async () => {
    await fc.assert(fc.asyncProperty(Case, async ({ kinds, batchSize, steps }) => {
      await using place = await make()
      await using db = await place.open()
      const world = await mergePathOver(db, place.home, RULES, { batchSize })
      const ids = Object.values(await world.reviewed(Object.fromEntries(kinds.map((kind, n) => [`${kind}-${n}`, filesOf(kind, n)]))))
      for (const id of ids) await world.decide(id)
      const pushed = await disturb(world, steps)
      await world.drain()
      // Three lost races stop a queue until a person looks.
      await db.write(async (trx) => { await trx.updateTable('merge_queues').set({ paused_reason: null }).execute() })
      await world.drain()
      await holds(world, kinds, ids, pushed)
    }), { numRuns: Number(process.env['SWARM_TEST_RUNS'] ?? (dialect === 'sqlite' ? 6 : 3)) })
  }, 600_000)
})
