import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { readRef, treeOf } from '../../integrations/builtin-code-host/bare.ts'
import { membersOf } from './merge-queries.ts'
import { interposed, mergePathOver, type MergePath } from './testing.ts'

/** Red as soon as a file of this name is there; and when a.txt and b.txt are there together. */
const RULES = 'checks:\n  test: "test ! -f guilty.txt && { test ! -f a.txt || test ! -f b.txt; } || { ls; exit 1; }"\n'

/** Approved changes that add one file each, named by the key. */
async function queued(world: MergePath, names: readonly string[]): Promise<Record<string, string>> {
  const ids = await world.reviewed(Object.fromEntries(names.map((name) => [name, { [`${name}.txt`]: `${name}\n` }])))
  for (const id of Object.values(ids)) await world.decide(id)
  return ids
}
const batches = async (world: MergePath) => await world.db.read.selectFrom('merge_batches').selectAll().orderBy('created_at').execute()
const ran = async (world: MergePath) => (await world.db.read.selectFrom('check_runs').select('id').where('purpose', '=', 'merge').where('tries', '>', 0).execute()).length
const states = async (world: MergePath, ids: Record<string, string>) => Object.fromEntries(await Promise.all(Object.entries(ids).map(async ([name, id]) => [name, (await world.ticket(id)).state])))
const permits = async (world: MergePath) => (await git(world.path, ['for-each-ref', 'refs/swarm/batches'])).stdout

eachDialect((_, make) => {
  const batch = (title: string, body: (world: MergePath) => Promise<void>, options: { batchSize?: number; swarmYml?: string } = {}) => {
    test(title, async () => {
      await using place = await make()
      await using db = await place.open()
      await body(await mergePathOver(db, place.home, options.swarmYml ?? RULES, options.batchSize === undefined ? {} : { batchSize: options.batchSize }))
    }, 300_000)
  }

  batch('what is approved together is checked once and lands with one step of main, each change with its own commit', async (world) => {
    const ids = await queued(world, ['p', 'q', 'r'])
    await world.drain()
    expect(await states(world, ids)).toEqual({ p: 'done', q: 'done', r: 'done' })
    const history = await world.mainHistory()
    expect(history).toHaveLength(2)
    expect(await world.unproven(history.slice(1))).toEqual([])
    expect(await ran(world)).toBe(1)
    expect((await git(world.path, ['rev-list', '--count', `${world.start}..main`])).stdout.trim()).toBe('3')
    const [row] = await batches(world)
    expect(row).toMatchObject({ state: 'landed', base_sha: world.start, head_sha: await world.main() })
    for (const member of membersOf(row!)) expect(await world.change(member.ticketId)).toMatchObject({ state: 'merged', merged_sha: row!.head_sha })
    const merged = await world.db.read.selectFrom('events').select('data').where('type', '=', 'change:merged').orderBy('seq').execute()
    expect(merged.map((event) => (JSON.parse(event.data) as { paths: string[] }).paths)).toEqual([['p.txt'], ['q.txt'], ['r.txt']])
    const told = await world.db.read.selectFrom('events').select('data').where('type', '=', 'batch:update').orderBy('seq').execute()
    expect(told.map((event) => (JSON.parse(event.data) as { to: string }).to)).toEqual(['checking', 'landed'])
    expect(await permits(world)).toBe('')
  })

  batch('no more than the setting go together', async (world) => {
    await queued(world, ['p', 'q', 'r'])
    await world.drain()
    expect((await batches(world)).map((row) => [row.state, membersOf(row).length])).toEqual([['landed', 2], ['landed', 1]])
  }, { batchSize: 2 })

  batch('a red batch is bisected to the one that is red beside the others; it goes back with the output, and the others merge', async (world) => {
    const ids = await queued(world, ['a', 'p', 'b', 'q', 'r'])
    await world.drain()
    expect(await states(world, ids)).toEqual({ a: 'done', p: 'done', b: 'changes_requested', q: 'done', r: 'done' })
    const [evidence] = JSON.parse((await world.ticket(ids['b']!)).evidence) as { failureClass: string; checkOutput: string }[]
    expect(evidence).toMatchObject({ failureClass: 'checks', checkOutput: expect.stringContaining('a.txt\nb.txt') })
    // a p b q r red · a p b red · a p green · b red, alone · q r green
    expect((await batches(world)).map((row) => [row.state, membersOf(row).length])).toEqual([['red', 5], ['red', 3], ['landed', 2], ['red', 1], ['landed', 2]])
    expect(await world.unproven((await world.mainHistory()).slice(1))).toEqual([])
    expect(await world.mainHistory()).toHaveLength(3)
  })

  batch('a red main is found before anything is bisected, and nobody is blamed', async (world) => {
    const ids = await queued(world, ['p', 'q', 'r'])
    await world.push({ 'guilty.txt': 'x\n' }, 'break main\n')
    await world.drain()
    expect((await world.db.read.selectFrom('merge_queues').selectAll().execute())[0]?.paused_reason).toContain('main itself')
    expect(await ran(world)).toBe(1)
    expect(await states(world, ids)).toEqual({ p: 'merging', q: 'merging', r: 'merging' })
    expect(await permits(world)).toBe('')
  })

  batch('who conflicts only with an earlier member waits, and is blamed when it conflicts with main itself', async (world) => {
    const ids = await world.reviewed({ p: { 'p.txt': 'p\n' }, one: { 'same.txt': '1\n' }, two: { 'same.txt': '2\n' }, last: { 'last.txt': 'x\n' } })
    for (const id of Object.values(ids)) await world.decide(id)
    await world.duty('merge queue')
    expect(membersOf((await batches(world))[0]!).map((member) => member.ticketId)).toEqual([ids['p'], ids['one'], ids['last']])
    expect(await world.entry(ids['two']!)).toMatchObject({ state: 'queued', reason: null })
    await world.drain()
    expect(await states(world, ids)).toEqual({ p: 'done', one: 'done', two: 'changes_requested', last: 'done' })
    expect(JSON.parse((await world.ticket(ids['two']!)).evidence)).toMatchObject([{ failureClass: 'conflict', reason: 'conflict in same.txt' }])
  })

  batch('a batch ends with the change that brings other rules: those behind it are checked by them', async (world) => {
    const ids = await world.reviewed({ p: { 'p.txt': 'p\n' }, rules: { 'rules.test.mjs': "import { existsSync } from 'node:fs'\nif (existsSync('late.txt')) throw new Error('late')\n" }, late: { 'late.txt': 'x\n' } })
    for (const id of Object.values(ids)) await world.decide(id)
    await world.drain()
    expect(await states(world, ids)).toEqual({ p: 'done', rules: 'done', late: 'changes_requested' })
    expect((await batches(world)).map((row) => [row.state, membersOf(row).length])).toEqual([['landed', 2], ['red', 1]])
  }, { swarmYml: '# what is found is run\n' })

  batch('fresh arrivals do not restart a running batch; a held ticket leaves it, and its check run ends', async (world) => {
    const { late = '', ...ids } = await world.reviewed(Object.fromEntries(['p', 'q', 'r', 'late'].map((name) => [name, { [`${name}.txt`]: 'x\n' }])))
    for (const id of Object.values(ids)) await world.decide(id)
    await world.duty('merge queue')
    const [first] = await batches(world)
    await world.decide(late)
    await world.duty('merge queue')
    expect(await batches(world)).toEqual([first])
    await world.db.write(async (trx) => { await trx.updateTable('tickets').set({ state: 'on_hold' }).where('id', '=', ids['q']!).execute() })
    await world.duty('merge queue')
    expect((await batches(world))[0]).toMatchObject({ state: 'dissolved', reason: 'a change left it' })
    await world.drain()
    expect(await states(world, { ...ids, late })).toEqual({ p: 'done', q: 'on_hold', r: 'done', late: 'done' })
    expect(await world.entry(ids['q']!)).toMatchObject({ state: 'cancelled' })
    expect(await git(world.path, ['ls-tree', '--name-only', 'main'])).toMatchObject({ stdout: expect.not.stringContaining('q.txt') })
    expect(await world.mainHistory()).toHaveLength(2)
  })

  batch('the check run of a batch that is taken apart ends, and what its runner still reports is nothing', async (world) => {
    const ids = await queued(world, ['p', 'q'])
    await world.duty('merge queue')
    const key = await world.db.write((trx) => world.checks.source.claim(trx, world.runner, 'key-00000001'))
    await world.db.write(async (trx) => { await trx.updateTable('tickets').set({ state: 'on_hold' }).where('id', '=', ids['q']!).execute() })
    await world.duty('merge queue')
    const beat = await world.db.write((trx) => world.checks.source.heartbeat(trx, world.runner.id, [{ kind: 'check', id: key?.id ?? '', fence: key?.fence ?? 0, vmId: null, activityAtMs: null }]))
    expect(beat).toEqual([{ id: key?.id, code: 'lost', reason: 'the lease is gone' }])
    await world.db.write((trx) => world.checks.source.complete(trx, world.runner.id, { id: key?.id ?? '', fence: key?.fence ?? 0, passed: true, results: [] }))
    expect(await world.db.read.selectFrom('check_runs').select('state').where('id', '=', key?.id ?? '').executeTakeFirst()).toEqual({ state: 'cancelled' })
  })

  batch('a change that is held after the last look and before main moves is merged, and the account says so', async (world) => {
    const ids = await queued(world, ['p', 'q'])
    await world.duty('merge queue')
    while (await world.runCheck() !== null);
    const held = async () => { await world.db.write(async (trx) => { await trx.updateTable('tickets').set({ state: 'on_hold' }).where('id', '=', ids['q']!).execute() }) }
    // Its first unit is that look.
    await world.duty('merge queue', world.replica(interposed(world.db, { at: 1, after: held })))
    await world.drain()
    expect(await states(world, ids)).toEqual({ p: 'done', q: 'done' })
    const merged = await world.db.read.selectFrom('events').select('data').where('type', '=', 'change:merged').where('subject_id', '=', (await world.change(ids['q']!)).id).execute()
    expect(merged.map((event) => (JSON.parse(event.data) as { ticketState: string }).ticketState)).toEqual(['on_hold'])
  })

  batch('a ticket that is given up at that moment is cancelled, and its change is merged: main says so', async (world) => {
    const ids = await queued(world, ['p', 'q'])
    await world.duty('merge queue')
    while (await world.runCheck() !== null);
    const cancelled = async () => {
      await world.db.write(async (trx) => { await trx.updateTable('tickets').set({ state: 'cancelled' }).where('id', '=', ids['q']!).execute() })
      await world.duty('ticket branches')
    }
    await world.duty('merge queue', world.replica(interposed(world.db, { at: 1, after: cancelled })))
    await world.drain()
    expect(await states(world, ids)).toEqual({ p: 'done', q: 'cancelled' })
    expect(await world.change(ids['q']!)).toMatchObject({ state: 'merged', merged_sha: await world.main() })
  })

  batch('a replica that slept between its last look and main moves nothing once the batch was taken apart', async (world) => {
    const ids = await queued(world, ['p', 'q'])
    await world.duty('merge queue')
    while (await world.runCheck() !== null);
    const before = await world.main()
    const meanwhile = async () => {
      await world.db.write(async (trx) => { await trx.updateTable('tickets').set({ state: 'on_hold' }).where('id', '=', ids['q']!).execute() })
      await world.duty('merge queue')
      expect((await batches(world))[0]?.state).toBe('dissolved')
    }
    await world.duty('merge queue', world.replica(interposed(world.db, { at: 1, after: meanwhile })))
    expect(await world.main()).toBe(before)
    await world.drain()
    expect(await states(world, ids)).toEqual({ p: 'done', q: 'on_hold' })
    expect(await permits(world)).toBe('')
  })

  batch('a change whose head is no longer what its approval showed never lands', async (world) => {
    const ids = await queued(world, ['p', 'q', 'r'])
    await world.duty('merge queue')
    while (await world.runCheck() !== null);
    const approval = await world.approval(ids['q']!)
    const other = { ...JSON.parse(approval.payload) as object, headSha: world.start }
    const tampered = async () => { await world.db.write(async (trx) => { await trx.updateTable('approvals').set({ payload: JSON.stringify(other) }).where('id', '=', approval.id).execute() }) }
    const moved = async () => { await world.db.write(async (trx) => { await trx.updateTable('changes').set({ head_sha: world.start }).where('ticket_id', '=', ids['r']!).execute() }) }
    await world.duty('merge queue', world.replica(interposed(world.db, { at: 1, before: async () => { await tampered(); await moved() } })))
    await world.drain()
    expect(await states(world, ids)).toEqual({ p: 'done', q: 'changes_requested', r: 'changes_requested' })
    expect((await git(world.path, ['ls-tree', '--name-only', 'main'])).stdout).not.toMatch(/^[qr]\.txt/m)
  })

  batch('an approval is used once: not by two decisions at once, not after its change came back, not for another head', async (world) => {
    const ids = await queued(world, ['a', 'p'])
    const approval = await world.approval(ids['p']!)
    expect(approval.used_at).not.toBeNull()
    await world.drain()
    const b = await world.inReview('b', { 'b.txt': 'b\n' }, world.start)
    const shown = await world.approval(b)
    const decide = () => world.db.write((trx) => world.approvals.decide(trx, { approvalId: shown.id, decision: 'approved', payloadHash: shown.payload_hash, reason: '', decidedBy: 'admin admin', byYesFlag: false, correlationId: 'test-correlation' }))
    const raced = await Promise.allSettled([decide(), decide(), decide()])
    expect(raced.filter((each) => each.status === 'rejected')).toEqual([])
    expect(await world.db.read.selectFrom('events').select('seq').where('type', '=', 'change:queued').where('subject_id', '=', shown.subject_id).execute()).toHaveLength(1)
    await world.drain()
    expect(await world.entry(b)).toMatchObject({ state: 'returned' })
    // The same approval once more, were its decision undone by hand: its use was not.
    await world.db.write(async (trx) => {
      await trx.updateTable('approvals').set({ status: 'pending' }).where('id', '=', shown.id).execute()
      await trx.updateTable('tickets').set({ state: 'in_review' }).where('id', '=', b).execute()
    })
    await expect(decide()).rejects.toMatchObject({ code: 'already_decided' })
    expect((await world.ticket(b)).state).toBe('in_review')
    expect(await world.entry(b)).toMatchObject({ state: 'returned' })
  })

  batch('a kill before or after any unit of the queue is taken up again: one step of main, each change recorded once', async (world) => {
    const ids = await queued(world, ['p', 'q', 'r'])
    let kills = 0
    for (let at = 1, side = 'before' as 'before' | 'after'; ;) {
      const dies = () => Promise.reject(new Error('killed'))
      const killed = world.replica(interposed(world.db, { at, [side]: dies }))
      const died = await world.duty('merge queue', killed).then(() => false, (error: unknown) => {
        if (error instanceof Error && error.message === 'killed') return true
        throw error
      })
      if (died) kills++
      while (await world.runCheck() !== null);
      if ((await batches(world)).some((row) => row.state === 'landed')) break
      if (side === 'after') at++
      side = side === 'before' ? 'after' : 'before'
    }
    expect(kills).toBeGreaterThanOrEqual(5)
    expect(await states(world, ids)).toEqual({ p: 'done', q: 'done', r: 'done' })
    expect(await world.mainHistory()).toHaveLength(2)
    expect(await world.db.read.selectFrom('events').select('seq').where('type', '=', 'change:merged').execute()).toHaveLength(3)
    expect(await treeOf(world.path, 'main')).toBe(await treeOf(world.path, (await batches(world)).at(-1)!.head_sha))
    expect(await readRef(world.path, 'refs/heads/main')).toBe((await batches(world)).at(-1)!.head_sha)
  })
})
