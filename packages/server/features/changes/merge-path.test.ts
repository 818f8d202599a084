import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { compareAndSet, isAncestor, readRef, treeOf } from '../../integrations/builtin-code-host/bare.ts'
import { mergePathOver, type MergePath } from './testing.ts'

/** Green alone, red together. */
const NOT_BOTH = 'checks:\n  lint: "true"\n  test: "test ! -f a.txt || test ! -f b.txt || { echo a and b together; exit 1; }"\n'

eachDialect((_, make) => {
  const path = (title: string, swarmYml: string, body: (world: MergePath) => Promise<void>, batchSize?: number) => {
    test(title, async () => {
      await using place = await make()
      await using db = await place.open()
      await body(await mergePathOver(db, place.home, swarmYml, batchSize === undefined ? {} : { batchSize }))
    }, 60_000)
  }

  path('an attempt becomes a change with evidence, and lands when it is approved', NOT_BOTH, async (world) => {
    const id = await world.plan('a')
    const attempt = await world.attempt(id, { 'a.txt': 'a\n' })
    await world.drain()
    expect((await world.ticket(id)).state).toBe('in_review')
    const change = await world.change(id)
    expect(change).toMatchObject({ state: 'open', head_sha: attempt.head, base_sha: world.start, branch: `swarm/${id}` })
    expect(change.body).toMatch(/## Acceptance\n- it works[\s\S]*## Checks\n- lint: `true` ended with 0/)
    expect(await readRef(world.path, `refs/heads/swarm/${id}`)).toBe(attempt.head)
    const approval = await world.approval(id)
    expect(JSON.parse(approval.payload)).toMatchObject({ changeId: change.id, ticketId: id, headSha: attempt.head, baseSha: world.start, files: 1, additions: 1, deletions: 0, warnings: [], checks: [{ name: 'lint', exitCode: 0 }, { name: 'test', exitCode: 0 }] })
    expect(await world.main()).toBe(world.start)

    await world.decide(id)
    await world.drain()
    expect(await world.main()).toBe(attempt.head)
    expect((await world.ticket(id)).state).toBe('done')
    expect(await world.change(id)).toMatchObject({ state: 'merged', merged_sha: attempt.head })
    expect((await world.approval(id)).used_at).not.toBeNull()
    // Main had not moved: the merged tree is the one that was checked, and is not checked again.
    const runs = await world.db.read.selectFrom('check_runs').selectAll().orderBy('created_at').execute()
    expect(runs.map((run) => [run.purpose, run.state, run.tries])).toEqual([['attempt', 'passed', 1], ['merge', 'passed', 0]])
  })

  path('--yes merges what is clean; what the gate warns about waits for a person', NOT_BOTH, async (world) => {
    const clean = await world.inReview('clean', { 'clean.txt': 'a\n' })
    const warned = await world.inReview('warned', { 'w.test.js': "import test from 'node:test'\nimport assert from 'node:assert'\ntest.skip('later', () => { assert.equal(1 + 1, 2) })\n" })
    expect(JSON.parse((await world.approval(warned)).payload)).toMatchObject({ warnings: [expect.stringContaining('test_skipped')] })
    await expect(world.decide(warned, 'approved', '', true)).rejects.toMatchObject({ code: 'not_for_yes' })
    expect(await world.ticket(warned)).toMatchObject({ state: 'in_review' })
    await world.decide(clean, 'approved', '', true)
    await world.decide(warned)
    await world.drain()
    expect([await world.ticket(clean), await world.ticket(warned)]).toMatchObject([{ state: 'done' }, { state: 'done' }])
    expect([await world.approval(clean), await world.approval(warned)]).toMatchObject([{ decided_by: 'admin admin (--yes)' }, { decided_by: 'admin admin' }])
  })

  path('--yes does not merge what nothing has checked', '', async (world) => {
    const id = await world.inReview('unchecked', { 'a.txt': 'a\n' })
    expect(JSON.parse((await world.approval(id)).payload)).toMatchObject({ checks: [] })
    await expect(world.decide(id, 'approved', '', true)).rejects.toMatchObject({ code: 'not_for_yes' })
  })

  path('an attempt whose diff the gate refuses comes back with the findings', NOT_BOTH, async (world) => {
    const id = await world.plan('scoped', ['src/**'])
    await world.attempt(id, { 'elsewhere.txt': 'x\n' })
    await world.drain()
    const ticket = await world.ticket(id)
    expect(ticket.state).toBe('ready')
    expect(JSON.parse(ticket.evidence)).toMatchObject([{ failureClass: 'policy', reason: 'output_gate', findings: expect.arrayContaining([expect.objectContaining({ path: 'elsewhere.txt', severity: 'error', remedy: expect.any(String) })]) }])
    expect(await world.db.read.selectFrom('check_runs').selectAll().execute()).toEqual([])
  })

  path('a head that was never pushed is refused', NOT_BOTH, async (world) => {
    const id = await world.plan('lost')
    const { id: attemptId } = await world.attempt(id, { 'z.txt': 'z\n' })
    await world.db.write(async (trx) => { await trx.updateTable('attempts').set({ head_sha: 'e'.repeat(40) }).where('id', '=', attemptId).execute() })
    await world.drain()
    expect(JSON.parse((await world.ticket(id)).evidence)).toMatchObject([{ failureClass: 'agent', reason: 'head_missing' }])
  })

  path('an attempt with a red check comes back with its output', 'checks: { test: "echo boom; exit 3" }\n', async (world) => {
    const id = await world.plan('red')
    await world.attempt(id, { 'c.txt': 'c\n' })
    await world.drain()
    const [evidence] = JSON.parse((await world.ticket(id)).evidence) as { failureClass: string; checkOutput: string }[]
    expect(evidence?.failureClass).toBe('checks')
    expect(evidence?.checkOutput).toContain('boom')
    expect(await world.db.read.selectFrom('changes').selectAll().execute()).toEqual([])
  })

  path('two that are green alone and red together: the first lands, the second returns with the merged tree and what came between', NOT_BOTH, async (world) => {
    const first = await world.inReview('first', { 'a.txt': 'a\n' }, world.start)
    const second = await world.inReview('second', { 'b.txt': 'b\n' }, world.start)
    await world.decide(first)
    await world.decide(second)
    await world.drain()
    expect((await world.ticket(first)).state).toBe('done')
    const back = await world.ticket(second)
    expect(back.state).toBe('changes_requested')
    const [evidence] = JSON.parse(back.evidence) as { failureClass: string; checkOutput: string }[]
    expect(evidence?.failureClass).toBe('checks')
    expect(evidence?.checkOutput).toMatch(/Merged since this work began:\n.*Work on[\s\S]*a and b together/)
    const entry = await world.entry(second)
    expect(entry.state).toBe('returned')
    // The next attempt starts on the merged tree itself.
    expect([back.next_base_sha, back.next_start_sha]).toEqual([await world.main(), entry.candidate_sha])

    await world.attempt(second, { 'b.txt': null, 'c.txt': 'b, elsewhere\n' })
    await world.drain()
    expect((await world.ticket(second)).state).toBe('in_review')
    await world.decide(second)
    await world.drain()
    expect((await world.ticket(second)).state).toBe('done')
    expect(await world.db.read.selectFrom('changes').select('id').execute()).toHaveLength(2)
    expect(await world.unproven((await world.mainHistory()).slice(1))).toEqual([])
  })

  path('a conflict returns the ticket with both sides, to begin on main', NOT_BOTH, async (world) => {
    const seeded = await world.push({ 'shared.txt': '1\n2\n3\n' })
    const first = await world.inReview('one', { 'shared.txt': '1\nfirst\n3\n' }, seeded)
    const second = await world.inReview('two', { 'shared.txt': '1\nsecond\n3\n' }, seeded)
    await world.decide(first)
    await world.decide(second)
    await world.drain()
    const back = await world.ticket(second)
    expect(back.state).toBe('changes_requested')
    const [evidence] = JSON.parse(back.evidence) as { failureClass: string; reason: string; conflict: string }[]
    expect(evidence).toMatchObject({ failureClass: 'conflict', reason: 'conflict in shared.txt' })
    expect(evidence?.conflict).toMatch(/on main now[\s\S]*first[\s\S]*in this change[\s\S]*second/)
    expect([back.next_base_sha, back.next_start_sha]).toEqual([await world.main(), await world.main()])
  })

  path('main that moves between the checks and the merge is rebuilt upon; the third time the queue pauses, and a person resumes it', NOT_BOTH, async (world) => {
    const id = await world.inReview('racer', { 'c.txt': 'c\n' })
    await world.decide(id)
    const outside: string[] = []
    for (let race = 0; race < 3; race++) {
      await world.duty('merge queue')
      while (await world.runCheck() !== null);
      expect(await world.entry(id)).toMatchObject({ state: 'checking', losses: race })
      outside.push(await world.push({ [`other-${race}.txt`]: 'x\n' }))
      await world.duty('merge queue')
    }
    const [queue] = await world.db.read.selectFrom('merge_queues').selectAll().execute()
    expect(queue?.paused_reason).toContain('3 times')
    await world.drain()
    expect((await world.ticket(id)).state).toBe('merging')
    await world.db.write(async (trx) => { await trx.updateTable('merge_queues').set({ paused_reason: null }).execute() })
    await world.drain()
    expect((await world.ticket(id)).state).toBe('done')
    const ours = (await world.mainHistory()).slice(1).filter((sha) => !outside.includes(sha))
    expect(ours).toHaveLength(1)
    expect(await world.unproven(ours)).toEqual([])
  })

  path('a red base stops the queue and blames no ticket; mended and resumed it goes on', NOT_BOTH, async (world) => {
    const id = await world.inReview('innocent', { 'c.txt': 'c\n' })
    await world.push({ 'a.txt': 'a\n', 'b.txt': 'b\n' }, 'break main\n')
    await world.decide(id)
    await world.drain()
    const [queue] = await world.db.read.selectFrom('merge_queues').selectAll().execute()
    expect(queue?.paused_reason).toContain('main itself')
    expect(await world.ticket(id)).toMatchObject({ state: 'merging', failure_counts: '{}' })
    await world.push({ 'b.txt': null }, 'mend main\n')
    await world.db.write(async (trx) => { await trx.updateTable('merge_queues').set({ paused_reason: null, updated_at: world.clock.now }).execute() })
    await world.drain()
    expect((await world.ticket(id)).state).toBe('done')
  })

  path('a stop after main moved and before the row: the next run sees it and settles it once', NOT_BOTH, async (world) => {
    const id = await world.inReview('killed', { 'c.txt': 'c\n' })
    await world.push({ 'other.txt': 'x\n' })
    await world.decide(id)
    await world.duty('merge queue')
    const entry = await world.entry(id)
    while (await world.runCheck() !== null);
    // kill -9 between update-ref and the transaction:
    expect(await compareAndSet(world.path, 'refs/heads/main', entry.candidate_sha ?? '', entry.base_sha)).toBe(true)
    // … and others went on from there before the restart.
    await world.push({ 'later.txt': 'x\n' })
    await world.drain()
    expect((await world.ticket(id)).state).toBe('done')
    expect(await world.change(id)).toMatchObject({ state: 'merged', merged_sha: entry.candidate_sha })
    const merges = await world.db.read.selectFrom('events').selectAll().where('type', '=', 'change:merged').execute()
    expect(merges).toHaveLength(1)
    expect((await git(world.path, ['for-each-ref', 'refs/swarm/batches'])).stdout).toBe('')
  })

  path('a ticket that was held while its merge was half done is merged all the same: main says so', NOT_BOTH, async (world) => {
    const id = await world.inReview('held', { 'c.txt': 'c\n' })
    await world.push({ 'other.txt': 'x\n' })
    await world.decide(id)
    await world.duty('merge queue')
    const entry = await world.entry(id)
    while (await world.runCheck() !== null);
    await compareAndSet(world.path, 'refs/heads/main', entry.candidate_sha ?? '', entry.base_sha)
    await world.db.write(async (trx) => { await trx.updateTable('tickets').set({ state: 'on_hold' }).where('id', '=', id).execute() })
    await world.drain()
    expect(await world.entry(id)).toMatchObject({ state: 'merged', candidate_sha: entry.candidate_sha })
    expect(await world.change(id)).toMatchObject({ state: 'merged' })
  })

  path('a stop at any other step is taken up again: candidate unrecorded, branch unwritten, verdict unread', NOT_BOTH, async (world) => {
    const id = await world.inReview('steps', { 'c.txt': 'c\n' })
    const change = await world.change(id)
    // The branch was not written, or somebody removed it.
    await git(world.path, ['update-ref', '-d', `refs/heads/swarm/${id}`])
    await world.duty('ticket branches', world.replica())
    expect(await readRef(world.path, `refs/heads/swarm/${id}`)).toBe(change.head_sha)
    await world.push({ 'other.txt': 'x\n' })
    await world.decide(id)
    await world.duty('merge queue')
    const first = await world.entry(id)
    // The row was lost with the transaction: building again gives the same commit, and its check is not run twice.
    while (await world.runCheck() !== null);
    await world.db.write(async (trx) => {
      await trx.updateTable('merge_entries').set({ state: 'queued', base_sha: null, candidate_sha: null, check_id: null, batch_id: null }).execute()
      await trx.deleteFrom('merge_batches').execute()
    })
    await world.duty('merge queue', world.replica())
    expect((await world.entry(id)).candidate_sha).toBe(first.candidate_sha)
    await world.drain()
    expect(await world.main()).toBe(first.candidate_sha)
    expect(await world.db.read.selectFrom('check_runs').selectAll().where('tries', '>', 0).where('purpose', '=', 'merge').execute()).toHaveLength(1)
  })

  for (const [batchSize, advances] of [[1, 3], [8, 1]] as const) path(`two replicas that run every duty at once merge each change once, and main never holds what was not checked (batches of ${batchSize})`, NOT_BOTH, async (world) => {
    const ids: string[] = []
    for (const name of ['p', 'q', 'r']) ids.push(await world.inReview(name, { [`${name}.txt`]: `${name}\n` }, world.start))
    for (const id of ids) await world.decide(id)
    const other = world.replica()
    for (let round = 0; round < 40; round++) {
      const moved = await Promise.all([world.duty('merge queue'), world.duty('merge queue', other)])
      const ran = await world.runCheck()
      if (!moved.includes(true) && ran === null) break
    }
    for (const id of ids) expect((await world.ticket(id)).state).toBe('done')
    const history = await world.mainHistory()
    expect(history).toHaveLength(1 + advances)
    expect(await world.unproven(history.slice(1))).toEqual([])
    const events = await world.db.read.selectFrom('events').selectAll().where('type', '=', 'change:merged').execute()
    expect(events).toHaveLength(3)
  }, batchSize)

  path('a merge that is to be revised sends the ticket back with the reason, and an approval of an older head does nothing', NOT_BOTH, async (world) => {
    const id = await world.inReview('meh', { 'c.txt': 'c\n' })
    await world.decide(id, 'revision_requested', 'name it better')
    expect((await world.ticket(id)).state).toBe('changes_requested')
    expect(JSON.parse((await world.ticket(id)).evidence)).toMatchObject([{ failureClass: 'policy', reason: 'name it better' }])
    await world.attempt(id, { 'better.txt': 'c\n' })
    await world.drain()
    await world.db.write(async (trx) => { await trx.updateTable('changes').set({ head_sha: world.start }).execute() })
    await expect(world.decide(id)).rejects.toMatchObject({ code: 'change_not_open' })
    expect((await world.approval(id)).status).toBe('pending')
  })

  path('a ticket that a person takes out of the queue is not merged', NOT_BOTH, async (world) => {
    const id = await world.inReview('held', { 'c.txt': 'c\n' })
    await world.decide(id)
    await world.db.write(async (trx) => { await trx.updateTable('tickets').set({ state: 'on_hold' }).where('id', '=', id).execute() })
    await world.drain()
    expect((await world.entry(id)).state).toBe('cancelled')
    expect(await world.main()).toBe(world.start)
  })

  path('what main has already is merged without a new commit', NOT_BOTH, async (world) => {
    const id = await world.inReview('same', { 'c.txt': 'c\n' }, world.start)
    await world.push({ 'c.txt': 'c\n' }, 'the same by hand\n')
    const before = await world.main()
    await world.decide(id)
    await world.drain()
    expect(await world.main()).toBe(before)
    expect((await world.ticket(id)).state).toBe('done')
    expect(await isAncestor(world.path, world.start, before)).toBe(true)
  })

  path('without any check a change lands, with a warning that nothing was run', '# nothing\n', async (world) => {
    const id = await world.inReview('bare', { 'c.txt': 'c\n' })
    expect(JSON.parse((await world.approval(id)).payload)).toMatchObject({ warnings: [expect.stringContaining('no checks')] })
  })

  path('checks found in the change are run when the base has none, since the other choice is to run nothing', '# nothing\n', async (world) => {
    const id = await world.plan('skeleton')
    await world.attempt(id, { 'Makefile': 'test:\n\t@echo ran; false\n' })
    await world.drain()
    expect(JSON.parse((await world.ticket(id)).evidence)).toMatchObject([{ failureClass: 'checks', checkOutput: expect.stringContaining('ran') }])
  })

  path('a check run is held under a lease: same key, same answer; lost, queued again with a delay; given up after five', NOT_BOTH, async (world) => {
    const { source } = world.checks
    const id = await world.plan('leased')
    const attempt = await world.attempt(id, { 'c.txt': 'c\n' })
    await world.duty('output gate')
    const claim = (key: string) => world.db.write((trx) => source.claim(trx, world.runner, key))
    const first = await claim('key-00000001')
    expect(await claim('key-00000001')).toEqual(first)
    expect(await claim('key-00000002')).toBeNull()
    const work = await source.describe(first?.id ?? '', first?.fence ?? 0)
    expect(work).toMatchObject({ kind: 'check', commitSha: attempt.head, checks: [{ name: 'lint', command: 'true' }, { name: 'test' }], token: expect.stringMatching(/^swarm_check_/) })
    expect(await readRef(world.path, `refs/swarm/checks/${work.checkId}`)).toBe(attempt.head)
    for (let tries = 1; tries <= 5; tries++) {
      const held = tries === 1 ? first : await claim(`key-1000000${tries}`)
      expect(held).not.toBeNull()
      const beat = await world.db.write((trx) => source.heartbeat(trx, world.runner.id, [{ kind: 'check', id: held?.id ?? '', fence: held?.fence ?? 0, vmId: 'VM-1', activityAtMs: null }, { kind: 'check', id: held?.id ?? '', fence: 99, vmId: null, activityAtMs: null }]))
      expect(beat).toEqual([{ id: held?.id, code: 'lost', reason: 'the lease is gone' }])
      world.clock.now += 31_000
      expect(await world.db.write((trx) => source.expire(trx, world.clock.now))).toBeGreaterThan(0)
      // Late results of the lost runner change nothing.
      await expect(world.db.write((trx) => source.complete(trx, world.runner.id, { id: held?.id ?? '', fence: held?.fence ?? 0, passed: true, results: [] }))).rejects.toMatchObject({ code: 'stale_fence' })
      expect(await claim(`key-2000000${tries}`)).toBeNull()
      world.clock.now += 300_000
    }
    await world.drain()
    expect(JSON.parse((await world.ticket(id)).evidence)).toMatchObject([{ failureClass: 'infrastructure', reason: 'check_error' }])
    // What was handed in is no worse for it: the next attempt goes on from there.
    const { next_start_sha } = await world.ticket(id)
    expect(next_start_sha).toBe((await world.db.read.selectFrom('attempts').select('head_sha').where('ticket_id', '=', id).executeTakeFirstOrThrow()).head_sha)
  })

  path('a pass that lacks a check, or whose results say otherwise, is none; a repeated report is answered alike', NOT_BOTH, async (world) => {
    const { source } = world.checks
    const id = await world.plan('liar')
    await world.attempt(id, { 'c.txt': 'c\n' })
    await world.duty('output gate')
    const key = await world.db.write((trx) => source.claim(trx, world.runner, 'key-00000001'))
    const report = { id: key?.id ?? '', fence: key?.fence ?? 0, passed: true, results: [{ name: 'lint', command: 'true', exitCode: 0, timedOut: false, wallMs: 1, output: '' }] }
    await world.db.write((trx) => source.complete(trx, world.runner.id, report))
    await world.db.write((trx) => source.complete(trx, world.runner.id, report))
    expect(await world.db.read.selectFrom('check_runs').select('state').execute()).toEqual([{ state: 'failed' }])
    expect(await treeOf(world.path, world.start)).toMatch(/^[0-9a-f]{40}$/)
  })
})
