import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { mergePathOver, type MergePath } from './testing.ts'

const CHECKS = 'checks: { test: "true" }\n'

/** The duty as the coordinator runs it: an error is logged, and it is run again. */
async function tolerant(world: MergePath, name: string, rounds: number, restMs = 60_000): Promise<string[]> {
  const errors: string[] = []
  for (let round = 0; round < rounds; round++) {
    try {
      while (await world.duty(name));
    } catch (error) {
      errors.push(String(error))
    }
    world.clock.now += restMs
  }
  return errors
}

eachDialect((_, make) => {
  const faults = (title: string, body: (world: MergePath) => Promise<void>) => {
    test(title, async () => {
      await using place = await make()
      await using db = await place.open()
      await body(await mergePathOver(db, place.home, CHECKS))
    }, 60_000)
  }

  faults('an attempt that the gate cannot deal with does not keep those behind it waiting, and ends as a fault of ours', async (world) => {
    const bad = await world.plan('bad')
    await world.attempt(bad, { 'a.txt': 'a\n' })
    await world.db.write(async (trx) => { await trx.updateTable('tickets').set({ scope: '{' }).where('id', '=', bad).execute() })
    const good = await world.plan('good')
    const { id } = await world.attempt(good, { 'b.txt': 'b\n' })
    const errors = await tolerant(world, 'output gate', 2, 0)
    expect(errors.length).toBeGreaterThan(0)
    expect((await world.db.read.selectFrom('attempts').select('state').where('id', '=', id).executeTakeFirstOrThrow()).state).toBe('verifying')
    await tolerant(world, 'output gate', 6)
    expect((await world.ticket(bad)).state).toBe('ready')
    expect(JSON.parse((await world.ticket(bad)).evidence)).toMatchObject([{ failureClass: 'infrastructure', reason: 'gate_fault' }])
  })

  faults('a verdict that cannot be carried out does not keep those behind it waiting', async (world) => {
    const bad = await world.plan('bad')
    const { id: badAttempt } = await world.attempt(bad, { 'a.txt': 'a\n' })
    const good = await world.plan('good')
    await world.attempt(good, { 'b.txt': 'b\n' })
    while (await world.duty('output gate'));
    while (await world.runCheck() !== null);
    await world.db.write(async (trx) => { await trx.updateTable('attempts').set({ gate: '{' }).where('id', '=', badAttempt).execute() })
    await tolerant(world, 'check verdicts', 2, 0)
    expect((await world.ticket(good)).state).toBe('in_review')
    await tolerant(world, 'check verdicts', 6)
    expect(JSON.parse((await world.ticket(bad)).evidence)).toMatchObject([{ failureClass: 'infrastructure', reason: 'publish_fault' }])
  })

  faults('a repository whose merge cannot be carried out does not stop the queues of others, and its own queue pauses with the reason', async (world) => {
    const good = await world.inReview('good', { 'b.txt': 'b\n' })
    // A second repository that sorts before the first and lost its folder.
    await world.db.write(async (trx) => {
      const repository = await trx.selectFrom('repositories').selectAll().where('id', '=', world.repositoryId).executeTakeFirstOrThrow()
      await trx.insertInto('repositories').values({ ...repository, id: 'REP-00000000', slug: 'gone' }).execute()
      const ticket = await world.ticket(good)
      await trx.insertInto('tickets').values({ ...ticket, id: 'TKT-00000000', repository_id: 'REP-00000000', key: 'gone', state: 'merging' }).execute()
      const change = await world.change(good)
      await trx.insertInto('changes').values({ ...change, id: 'CHG-00000000', ticket_id: 'TKT-00000000', repository_id: 'REP-00000000' }).execute()
      await trx.insertInto('merge_entries').values({
        change_id: 'CHG-00000000', repository_id: 'REP-00000000', ticket_id: 'TKT-00000000', head_sha: change.head_sha, state: 'queued', base_sha: null, candidate_sha: null,
        check_id: null, batch_id: null, losses: 0, approval_id: null, reason: null, created_at: 1, updated_at: 1,
      }).execute()
    })
    await world.decide(good)
    expect((await tolerant(world, 'merge queue', 2, 0)).length).toBeGreaterThan(0)
    expect((await world.ticket(good)).state).toBe('done')
    await tolerant(world, 'merge queue', 6)
    const queue = await world.db.read.selectFrom('merge_queues').selectAll().where('repository_id', '=', 'REP-00000000').executeTakeFirst()
    expect(queue?.paused_reason).toContain('cannot be carried out')
  })

  faults('a merge that main holds already is recorded in full, even when a person held the ticket in that moment', async (world) => {
    const id = await world.inReview('held', { 'c.txt': 'c\n' })
    const child = await world.plan('child')
    await world.db.write(async (trx) => { await trx.insertInto('ticket_dependencies').values({ ticket_id: child, depends_on_id: id }).execute() })
    await world.push({ 'other.txt': 'x\n' })
    await world.decide(id)
    await world.duty('merge queue')
    while (await world.runCheck() !== null);
    const entry = await world.entry(id)
    const { compareAndSet } = await import('../../integrations/builtin-code-host/bare.ts')
    await compareAndSet(world.path, 'refs/heads/main', entry.candidate_sha ?? '', entry.base_sha)
    await world.db.write(async (trx) => { await trx.updateTable('tickets').set({ state: 'on_hold' }).where('id', '=', id).execute() })
    await world.drain()
    expect((await world.ticket(id)).state).toBe('done')
  })

  faults('a commit that the attempt did not push itself is not taken for its work', async (world) => {
    const other = await world.plan('other')
    const { head } = await world.attempt(other, { 'other.txt': 'o\n' })
    const id = await world.plan('thief')
    const mine = await world.attempt(id, { 'mine.txt': 'm\n' })
    await world.db.write(async (trx) => { await trx.updateTable('attempts').set({ head_sha: head }).where('id', '=', mine.id).execute() })
    await world.drain()
    expect(JSON.parse((await world.ticket(id)).evidence)).toMatchObject([{ failureClass: 'agent', reason: 'head_missing' }])
  })
})
