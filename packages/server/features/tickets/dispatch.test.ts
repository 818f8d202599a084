import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Database } from '../../db/database.ts'
import { eachDialect } from '../../db/testing.ts'
import { stopTicket, retryTicket } from './people.ts'
import { presentTickets } from './present.ts'
import { attemptsOf, ticketById } from './queries.ts'
import { redrive } from './redrive.ts'
import { completeAttempt, failAttempt, recordStatus, releaseAttempt } from './reports.ts'
import { engineOver } from './testing.ts'
import type { EngineForTests } from './testing.ts'

const HEAD = 'a'.repeat(40)
const LIMITS = { concurrency: 100, concurrencyOf: async () => 100 }
const offerAgain = async () => false

type Claimed = NonNullable<Awaited<ReturnType<EngineForTests['claim']>>>

async function verify(db: Database, engine: EngineForTests, attempt: Claimed, paths?: readonly string[]): Promise<void> {
  await db.write((trx) => completeAttempt(trx, engine.deps, attempt.runner_id!, { id: attempt.id, fence: attempt.fence, headSha: HEAD, summary: 'done' }))
  await db.write((trx) => engine.commands.gatePassed(trx, { attemptId: attempt.id, gate: '{}' }))
  await db.write((trx) => engine.commands.verified(trx, { attemptId: attempt.id, ...(paths ? { paths } : {}) }))
}
async function merge(db: Database, engine: EngineForTests, ticketId: string, paths?: readonly string[]): Promise<void> {
  await db.write((trx) => engine.commands.enterMerge(trx, { ticketId, correlationId: 'test' }))
  await db.write((trx) => engine.commands.merged(trx, { ticketId, sha: HEAD, correlationId: 'test', ...(paths ? { paths } : {}) }))
}
const why = async (db: Database, engine: EngineForTests, id: string) => (await presentTickets(db.read, [(await ticketById(db.read, id))!], LIMITS, engine.clock.now))[0]!.waitsFor

/** Those whose count of open dependencies is not what their parents' states say. */
async function miscounted(db: Database): Promise<string[]> {
  const tickets = await db.read.selectFrom('tickets').select(['id', 'state', 'open_dependencies']).execute()
  const pairs = await db.read.selectFrom('ticket_dependencies').selectAll().execute()
  const state = new Map(tickets.map((ticket) => [ticket.id, ticket.state]))
  return tickets.filter((ticket) => ticket.open_dependencies !== pairs.filter((pair) => pair.ticket_id === ticket.id && state.get(pair.depends_on_id) !== 'done').length).map((ticket) => ticket.id)
}

eachDialect((dialect, make) => {
  const numRuns = dialect === 'sqlite' ? 12 : 5

  test('in any graph, with any order of merges, failures, holds and cancels, no child starts before every parent is merged', { timeout: 120_000 }, async () => {
    await fc.assert(fc.asyncProperty(
      fc.array(fc.array(fc.nat(20), { maxLength: 3 }), { minLength: 2, maxLength: 8 }),
      fc.array(fc.constantFrom('claim', 'merge', 'merge', 'fail', 'hold', 'cancel', 'retry', 'add'), { minLength: 10, maxLength: 30 }),
      fc.infiniteStream(fc.nat(1000)),
      async (shape, steps, picks) => {
        await using place = await make()
        await using db = await place.open()
        const engine = await engineOver(db)
        const pick = <T>(items: readonly T[]): T | undefined => items[Number(picks.next().value) % Math.max(1, items.length)]
        const keys = shape.map((_, index) => `t${index}`)
        const made = await engine.plan(shape.map((parents, index) => ({ key: keys[index]!, dependsOn: index === 0 ? [] : [...new Set(parents.map((parent) => keys[parent % index]!))] })))
        const ids = [...made.values()]
        const running: Claimed[] = []
        const parentsOf = async (id: string) => db.read.selectFrom('ticket_dependencies').innerJoin('tickets', 'tickets.id', 'ticket_dependencies.depends_on_id').select('tickets.state').where('ticket_id', '=', id).execute()
        for (const step of steps) {
          engine.clock.now += 400_000
          if (step === 'claim') {
            const attempt = await engine.claim()
            if (!attempt) continue
            for (const parent of await parentsOf(attempt.ticket_id)) expect(parent.state).toBe('done')
            running.push(attempt)
          } else if (step === 'merge' || step === 'fail') {
            const attempt = running.shift()
            const state = attempt && await engine.state(attempt.ticket_id)
            if (!attempt || (state !== 'claimed' && state !== 'in_progress')) continue
            if (step === 'merge') {
              await verify(db, engine, attempt)
              await merge(db, engine, attempt.ticket_id)
            } else await db.write((trx) => failAttempt(trx, engine.deps, attempt.runner_id!, { id: attempt.id, fence: attempt.fence, failureClass: 'agent', reason: 'x', message: '', wipSha: null }))
          } else if (step === 'add') {
            const parent = pick(ids)!
            ids.push(...(await engine.plan([{ key: `late${ids.length}`, dependsOn: [parent] }])).values())
          } else {
            const id = pick(ids)!
            const state = await engine.state(id)
            if (step === 'retry') {
              if (state === 'on_hold') await db.write((trx) => retryTicket(trx, engine.deps, { ticketId: id, offerAgain, correlationId: 'test' }))
            } else if (!['done', 'cancelled', step === 'hold' ? 'on_hold' : ''].includes(state)) {
              await db.write((trx) => stopTicket(trx, engine.deps, { ticketId: id, to: step === 'hold' ? 'on_hold' : 'cancelled', reason: 'test', correlationId: 'test' }))
            }
          }
          expect(await miscounted(db)).toEqual([])
        }
      },
    ), { numRuns })
  })

  test('a parent that failed, is held or was cancelled never releases its child, which says so with what to do', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'parent', title: 'Lay the page' }, { key: 'child', dependsOn: ['parent'] }])
    const [parent, child] = [ids.get('parent')!, ids.get('child')!]
    await db.write((trx) => stopTicket(trx, engine.deps, { ticketId: parent, to: 'on_hold', reason: 'wait', correlationId: 'test' }))
    expect(await engine.claim()).toBeNull()
    expect(await why(db, engine, child)).toBe(`${parent} (Lay the page) to be merged, which is on hold: swarm ticket why ${parent}`)
    expect(await why(db, engine, parent)).toBe('a person: wait')
    await db.write((trx) => stopTicket(trx, engine.deps, { ticketId: parent, to: 'cancelled', reason: 'no', correlationId: 'test' }))
    expect(await engine.claim()).toBeNull()
    expect(await why(db, engine, child)).toContain('which was cancelled and is never merged: cancel this one too')
  })

  test('whatever is predicted, something is claimed when nothing runs, and reviews delay for minutes, not for ever', { timeout: 120_000 }, async () => {
    const file = fc.constantFrom('a.js', 'b.js', 'c.js')
    await fc.assert(fc.asyncProperty(
      fc.array(fc.record({ scope: fc.uniqueArray(file, { maxLength: 3 }), written: fc.uniqueArray(file, { minLength: 1 }) }), { minLength: 2, maxLength: 6 }),
      async (tickets) => {
        await using place = await make()
        await using db = await place.open()
        const engine = await engineOver(db)
        await engine.plan(tickets.map(({ scope }, index) => ({ key: `t${index}`, scope })))
        for (let left = tickets.length; left > 0; left--) {
          const attempt = await engine.claim()
          // Everybody before is merged, or in review for longer than others wait.
          if (!attempt) expect.fail('nothing runs, and nothing could be claimed')
          await verify(db, engine, attempt, tickets[left - 1]!.written)
          if (left % 2 === 0) await merge(db, engine, attempt.ticket_id)
          engine.clock.now += 5 * 60_000
        }
      },
    ), { numRuns })
  })

  test('a ticket that overlaps is claimed after half an hour all the same, however long the other one works', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    await engine.plan([{ key: 'a', scope: ['src/shared.js'] }, { key: 'b', scope: ['src/shared.js'] }])
    expect(await engine.claim()).not.toBeNull()
    engine.clock.now += 29 * 60_000
    expect(await engine.claim()).toBeNull()
    engine.clock.now += 60_000
    expect(await engine.claim()).not.toBeNull()
  })

  test('files that always changed together in merged changes keep tickets apart, though neither names the other\'s', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    for (let round = 0; round < 3; round++) {
      const ids = await engine.plan([{ key: `r${round}`, scope: ['src/**'] }])
      await verify(db, engine, (await engine.claim())!, ['src/model.js', 'src/view.js'])
      await merge(db, engine, ids.get(`r${round}`)!)
    }
    const ids = await engine.plan([{ key: 'm', scope: ['src/model.js'] }, { key: 'v', scope: ['src/view.js'] }, { key: 'other', scope: ['src/other.js'] }])
    const claimed = [(await engine.claim())!.ticket_id, (await engine.claim())!.ticket_id]
    expect(claimed).toContain(ids.get('other'))
    expect(await engine.claim()).toBeNull()
    const waiting = claimed.includes(ids.get('m')!) ? ids.get('v')! : ids.get('m')!
    expect(await why(db, engine, waiting)).toMatch(/is expected to write src\/\w+\.js/)
    // History is less sure than a declaration, and delays for less.
    engine.clock.now += 24 * 60_000
    expect((await engine.claim())!.ticket_id).toBe(waiting)
  })

  test('what an attempt really wrote is what others avoid from then on', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'a', scope: ['src/declared.js'] }])
    await verify(db, engine, (await engine.claim())!, ['src/real.js'])
    await engine.plan([{ key: 'b', scope: ['src/real.js'] }])
    expect(await engine.claim()).toBeNull()
    const free = await engine.plan([{ key: 'c', scope: ['src/declared.js'] }])
    expect((await engine.claim())!.ticket_id).toBe(free.get('c'))
    await merge(db, engine, ids.get('a')!)
    expect(await engine.claim()).not.toBeNull()
  })

  test('one project with many tickets does not keep another waiting: the fewest at work come first, then priority, then age', async () => {
    await using place = await make()
    await using db = await place.open()
    const [many, few] = [await engineOver(db), await engineOver(db)]
    await many.plan(Array.from({ length: 5 }, (_, index) => ({ key: `m${index}` })))
    few.clock.now += 10
    const late = await few.plan([{ key: 'f0' }, { key: 'f1' }])
    await db.write(async (trx) => { await trx.updateTable('tickets').set({ priority: 5 }).where('id', '=', late.get('f1')!).execute() })
    const order = []
    for (let count = 0; count < 4; count++) order.push((await many.claim())!)
    // Two at once of each, however many the one has.
    for (const two of [order.slice(0, 2), order.slice(2)]) expect(new Set(two.map((attempt) => attempt.project_id)).size).toBe(2)
    expect(order[0]!.ticket_id).toBe(late.get('f1'))
  })

  test('a redrive sends back what matches, leaves what waits for an answer, and a second one finds nothing', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'machine' }, { key: 'agent' }, { key: 'asks' }])
    const byKey = new Map([...ids].map(([key, id]) => [id, key]))
    const end = async (attempt: Claimed) => {
      const key = { id: attempt.id, fence: attempt.fence }
      const kind = byKey.get(attempt.ticket_id)
      if (kind === 'asks') {
        await db.write((trx) => releaseAttempt(trx, engine.deps, attempt.runner_id!, { ...key, reason: 'question', wipSha: null, question: { text: 'Which?', options: [], toolUseId: 'toolu_1', transcriptDigest: 'sha256:0' } }))
      } else await db.write((trx) => failAttempt(trx, engine.deps, attempt.runner_id!, { ...key, failureClass: kind === 'machine' ? 'infrastructure' : 'agent', reason: 'x', message: '', wipSha: null }))
    }
    for (let round = 0; round < 20; round++) {
      engine.clock.now += 600_000
      for (let attempt = await engine.claim(); attempt; attempt = await engine.claim()) await end(attempt)
    }
    for (const id of ids.values()) expect(await engine.state(id)).toBe('on_hold')
    const run = (filter: Partial<Parameters<typeof redrive>[2]['filter']>) => redrive(db, engine.deps, { projects: 'all', filter: { waiting: false, ...filter }, offerAgain, correlationId: 'test' })
    expect(await run({ failureClass: 'infrastructure' })).toEqual({ sent: [ids.get('machine')], left: [], nextCursor: null })
    expect(await redrive(db, engine.deps, { projects: ['PRJ-NONE'], filter: { waiting: false }, offerAgain, correlationId: 'test' })).toEqual({ sent: [], left: [], nextCursor: null })
    const all = await run({ state: 'on_hold' })
    expect(all.sent).toEqual([ids.get('agent')])
    expect(all.left).toEqual([{ ticketId: ids.get('asks'), reason: expect.stringContaining('it waits for an answer to QST-') as unknown }])
    expect((await run({})).sent).toEqual([])
    expect((await run({ waiting: true })).sent).toEqual([ids.get('asks')])
    expect(JSON.parse((await ticketById(db.read, ids.get('agent')!))!.failure_counts)).toEqual({})
  })

  test('more tickets that wait for a decision than one call looks at hide none that can go, and each is looked at once', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const waiting = await engine.plan(Array.from({ length: 501 }, (_, index) => ({ key: `w${index}` })))
    engine.clock.now += 1
    const free = (await engine.plan([{ key: 'free' }])).get('free')!
    await db.write(async (trx) => {
      await trx.updateTable('tickets').set({ state: 'on_hold' }).execute()
      await trx.updateTable('tickets').set({ failure_counts: '{"budget":1}' }).where('id', '<>', free).execute()
      await trx.insertInto('approvals').values({
        id: 'APR-00000001', project_id: engine.projectId, kind: 'budget_breach', subject_kind: 'project', subject_id: engine.projectId, requester: 'budget', payload: '{}', payload_hash: 'h', status: 'pending',
        decided_by: null, decided_at: null, decision_reason: null, yes_allowed: 1, used_at: null, expires_at: null, created_at: 1,
      }).execute()
    })
    const run = (cursor?: string) => redrive(db, engine.deps, { projects: 'all', filter: { waiting: false, cursor }, offerAgain, correlationId: 'test' })
    const first = await run()
    expect(first).toMatchObject({ sent: [], nextCursor: expect.any(String) as unknown })
    const second = await run(first.nextCursor!)
    expect(second).toMatchObject({ sent: [free], nextCursor: null })
    expect([...first.left, ...second.left].map((each) => each.ticketId).sort()).toEqual([...waiting.values()].sort())
    expect(await engine.state(free)).toBe('ready')
  })

  test('an attempt that ended never changes again: not by a late report, a redrive, a new attempt or the merge', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'a' }])
    const first = (await engine.claim())!
    await db.write((trx) => failAttempt(trx, engine.deps, first.runner_id!, { id: first.id, fence: first.fence, failureClass: 'agent', reason: 'x', message: 'm', wipSha: null }))
    const before = (await attemptsOf(db.read, ids.get('a')!))[0]
    const late = [
      () => db.write((trx) => recordStatus(trx, engine.deps, first.runner_id!, { id: first.id, fence: first.fence, sequence: 9, vmId: 'VM-1', activity: [], egressRefusals: [] })),
      () => db.write((trx) => completeAttempt(trx, engine.deps, first.runner_id!, { id: first.id, fence: first.fence, headSha: HEAD, summary: '' })),
      () => db.write((trx) => releaseAttempt(trx, engine.deps, first.runner_id!, { id: first.id, fence: first.fence, reason: 'shutdown', wipSha: HEAD })),
    ]
    for (const report of late) await report().catch((error: unknown) => { expect(error).toMatchObject({ code: 'stale_fence' }) })
    await db.write((trx) => failAttempt(trx, engine.deps, first.runner_id!, { id: first.id, fence: first.fence, failureClass: 'model', reason: 'other', message: 'other', wipSha: HEAD }))
    await db.write((trx) => stopTicket(trx, engine.deps, { ticketId: ids.get('a')!, to: 'on_hold', reason: 'wait', correlationId: 'test' }))
    await db.write((trx) => retryTicket(trx, engine.deps, { ticketId: ids.get('a')!, offerAgain, correlationId: 'test' }))
    const second = (await engine.claim())!
    await verify(db, engine, second, ['a.js'])
    await merge(db, engine, ids.get('a')!, ['a.js'])
    expect((await attemptsOf(db.read, ids.get('a')!))[0]).toEqual(before)
  })
})
