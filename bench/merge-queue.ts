/**
 * What batches save: check runs and time of a merge queue with 16 approved changes, of which 0, 1 or 3 are red on main.
 *
 *   node bench/merge-queue.ts [--changes 16] [--guilty 0,1,3] [--batches 1,8] [--check-ms 500] [--runs 3] [--seed 1] [--json]
 *
 * The whole merge path over a database (SQLite) and a real repository; a check is a shell command on an export of the
 * commit that takes `--check-ms`, one at a time. Counted from the last approval to an empty queue. The guilty ones are in
 * seeded places, the same for each size of batch. Medians of the runs; progress on stderr, JSON on the last line of stdout.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openDatabase } from '../packages/server/db/open.ts'
import { mergePathOver } from '../packages/server/features/changes/testing.ts'

const { values } = parseArgs({
  options: {
    changes: { type: 'string', default: '16' }, guilty: { type: 'string', default: '0,1,3' }, batches: { type: 'string', default: '1,8' },
    'check-ms': { type: 'string', default: '500' }, runs: { type: 'string', default: '3' }, seed: { type: 'string', default: '1' }, json: { type: 'boolean', default: false },
  },
})
const numbers = (text: string) => text.split(',').map(Number)
const [changes, checkMs, runs] = [Number(values.changes), Number(values['check-ms']), Number(values.runs)]

interface Figures { readonly checkRuns: number; readonly baseRuns: number; readonly mainAdvances: number; readonly wallMs: number; readonly merged: number; readonly returned: number }
const median = (figures: readonly number[]): number => Math.round(figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)] ?? Number.NaN)

const loadBefore = loadavg()[0]
const table: (Figures & { guilty: number; batch: number })[] = []
for (const guilty of numbers(values.guilty)) {
  for (const batch of numbers(values.batches)) {
    const measured: Figures[] = []
    for (let n = 0; n < runs; n++) measured.push(await measure(batch, placesOf(guilty, Number(values.seed) + n)))
    const middle = (of: (figures: Figures) => number) => median(measured.map(of))
    table.push({
      guilty, batch, checkRuns: middle((each) => each.checkRuns), baseRuns: middle((each) => each.baseRuns), mainAdvances: middle((each) => each.mainAdvances),
      wallMs: middle((each) => each.wallMs), merged: middle((each) => each.merged), returned: middle((each) => each.returned),
    })
    process.stderr.write(`${JSON.stringify(table.at(-1))}\n`)
  }
}
if (!values.json) console.table(table)
console.log(JSON.stringify({ changes, checkMs, runs, seed: Number(values.seed), cores: cpus().length, loadBefore, loadAfter: loadavg()[0], table }))

async function measure(batchSize: number, guilty: ReadonlySet<number>): Promise<Figures> {
  const home = await mkdtemp(join(tmpdir(), 'swarm-bench-merge-'))
  try {
    await using db = await openDatabase({ home })
    // Only what runs in the queue takes its time: the trap comes to main when the attempts have been checked.
    const rules = `checks:\n  test: "test ! -f trap.txt || { sleep ${checkMs / 1_000}; ! ls | grep -q ^guilty; }"\n`
    const world = await mergePathOver(db, home, rules, { batchSize })
    const files = Array.from({ length: changes }, (_, n) => `${guilty.has(n) ? 'guilty' : 'good'}-${n}.txt`)
    const ids = Object.values(await world.reviewed(Object.fromEntries(files.map((name) => [name, { [name]: 'x\n' }]))))
    await world.push({ 'trap.txt': 'x\n' })
    for (const id of ids) await world.decide(id)
    const before = (await world.mainHistory()).length
    const startedAt = performance.now()
    await world.drain()
    const wallMs = performance.now() - startedAt
    const ran = await db.read.selectFrom('check_runs').select('purpose').where('purpose', 'in', ['merge', 'base']).where('tries', '>', 0).execute()
    const states = await Promise.all(ids.map(async (id) => (await world.ticket(id)).state))
    return {
      checkRuns: ran.filter((run) => run.purpose === 'merge').length, baseRuns: ran.filter((run) => run.purpose === 'base').length,
      mainAdvances: (await world.mainHistory()).length - before, wallMs, merged: states.filter((state) => state === 'done').length, returned: states.filter((state) => state === 'changes_requested').length,
    }
  } finally {
    await rm(home, { recursive: true, force: true })
  }
}

/** `count` different places out of all, by mulberry32. */
function placesOf(count: number, seed: number): Set<number> {
  let state = seed >>> 0
  const places = new Set<number>()
  while (places.size < Math.min(count, changes)) {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    places.add(((mixed ^ (mixed >>> 14)) >>> 0) % changes)
  }
  return places
}
