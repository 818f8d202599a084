import { TICKET_STATES, mayBecome } from '@swarm/core/tickets/machine.ts'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { createAttemptSource } from './attempt-source.ts'
import { stopTicket, retryTicket } from './people.ts'
import { answer, questions } from './questions.ts'
import { completeAttempt, failAttempt, recordStatus, releaseAttempt } from './reports.ts'
import { ticketById, attemptsOf } from './queries.ts'
import { engineOver } from './testing.ts'
import { moveTicket } from './transition.ts'
import type { EngineForTests } from './testing.ts'
import type { Database } from '../../db/database.ts'

const HEAD = 'a'.repeat(40)
const report = { sequence: 0, activity: [], egressRefusals: [] }

function sourceOf(db: Database, engine: EngineForTests) {
  return createAttemptSource({
    ...engine.deps, db, beatMs: 10_000, rules: engine.rules,
    defaults: { cpu: 1, memoryMb: 512, diskMb: 1024, minutes: 30, egressBytes: 1e9, pids: 512, outputBytes: 1e9 },
    inputs: { image: async () => ({ packages: [], npm: [], files: [] }), layer: async () => null },
    repositories: { head: async () => HEAD, setRef: async () => {}, resolve: async () => null, workPlan: async () => ({ setup: null, checks: [], image: { packages: [], npm: [] }, egressAllow: [], limits: {} }) },
    fixBudget: async () => {}, project: async () => ({ slug: 'p', settings: { egressAllow: [], vm: {} } }), repositorySlug: async () => 'r',
    agentDefinition: async () => { throw new Error('not used here') }, mintToken: async () => 'token', readTranscript: async () => [], conventions: async () => '',
  })
}

/** Brings an attempt that was claimed to a merged ticket, as the checks and the merge queue do. */
async function finish(db: Database, engine: EngineForTests, attempt: { id: string; fence: number; ticket_id: string; runner_id: string | null }): Promise<void> {
  await db.write((trx) => recordStatus(trx, engine.deps, attempt.runner_id!, { ...report, id: attempt.id, fence: attempt.fence }))
  await db.write((trx) => completeAttempt(trx, engine.deps, attempt.runner_id!, { id: attempt.id, fence: attempt.fence, headSha: HEAD, summary: 'done' }))
  await db.write((trx) => engine.commands.gatePassed(trx, { attemptId: attempt.id, gate: '{}' }))
  await db.write((trx) => engine.commands.verified(trx, { attemptId: attempt.id }))
  await db.write((trx) => engine.commands.enterMerge(trx, { ticketId: attempt.ticket_id, correlationId: 'test' }))
  await db.write((trx) => engine.commands.merged(trx, { ticketId: attempt.ticket_id, sha: HEAD, correlationId: 'test' }))
}

eachDialect((_dialect, make) => {
  test('a ticket is claimed once, however many ask at the same time', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    await engine.plan(Array.from({ length: 12 }, (_, index) => ({ key: `t${index}` })))
    const claims = (await Promise.all(Array.from({ length: 40 }, () => engine.claim()))).filter((attempt) => attempt !== null)
    expect(claims).toHaveLength(12)
    expect(new Set(claims.map((attempt) => attempt.ticket_id)).size).toBe(12)
  })

  test('children are not claimed before every parent is merged, in any graph', async () => {
    await fc.assert(fc.asyncProperty(
      fc.array(fc.array(fc.nat(20), { maxLength: 3 }), { minLength: 1, maxLength: 8 }),
      async (shape) => {
        await using place = await make()
        await using db = await place.open()
        const engine = await engineOver(db)
        const keys = shape.map((_, index) => `t${index}`)
        const parents = shape.map((picks, index) => index === 0 ? [] : [...new Set(picks.map((pick) => keys[pick % index]!))])
        const ids = await engine.plan(keys.map((key, index) => ({ key, dependsOn: parents[index]! })))
        const done = new Set<string>()
        for (;;) {
          const attempt = await engine.claim()
          if (!attempt) break
          const index = keys.findIndex((key) => ids.get(key) === attempt.ticket_id)
          for (const parent of parents[index]!) expect(done.has(parent)).toBe(true)
          await finish(db, engine, attempt)
          done.add(keys[index]!)
        }
        expect(done.size).toBe(keys.length)
      },
    ), { numRuns: 8 })
  })

  test('tickets that name the same file do not run together, and the wait says why', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const { presentTickets } = await import('./present.ts')
    const ids = await engine.plan([{ key: 'a', scope: ['src/shared.js', 'src/a/**'] }, { key: 'b', scope: ['src/shared.js'] }, { key: 'c', scope: ['src/a/**'] }])
    const claimed = [(await engine.claim())?.ticket_id, (await engine.claim())?.ticket_id]
    expect(claimed).toContain(ids.get('c'))
    expect(await engine.claim()).toBeNull()
    const waiting = claimed.includes(ids.get('a')) ? ids.get('b')! : ids.get('a')!
    const [shown] = await presentTickets(db.read, [(await ticketById(db.read, waiting))!], { concurrency: 100, concurrencyOf: async () => 100 }, engine.clock.now)
    expect(shown!.waitsFor).toContain('src/shared.js')
  })

  test('a project does not take more than its concurrency, and the fewest-served project comes first', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db, { perProject: 2 })
    await engine.plan([{ key: 'a' }, { key: 'b' }, { key: 'c' }])
    expect(await engine.claim()).not.toBeNull()
    expect(await engine.claim()).not.toBeNull()
    expect(await engine.claim()).toBeNull()
  })

  test('a stale fence changes nothing: not by status, completion, failure or release', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const source = sourceOf(db, engine)
    await engine.plan([{ key: 'a' }])
    const late = (await engine.claim())!
    engine.clock.now += 31_000
    expect(await db.write((trx) => source.expire(trx, engine.clock.now))).toBe(1)
    engine.clock.now += 60_000
    const current = (await engine.claim())!
    expect(current.fence).toBeGreaterThan(late.fence)
    const before = [await ticketById(db.read, late.ticket_id), await attemptsOf(db.read, late.ticket_id)]
    const key = { id: late.id, fence: late.fence }
    const writes = [
      () => db.write((trx) => recordStatus(trx, engine.deps, late.runner_id!, { ...report, ...key })),
      () => db.write((trx) => completeAttempt(trx, engine.deps, late.runner_id!, { ...key, headSha: HEAD, summary: '' })),
      () => db.write((trx) => releaseAttempt(trx, engine.deps, late.runner_id!, { ...key, reason: 'shutdown', wipSha: null })),
      () => db.write((trx) => failAttempt(trx, engine.deps, late.runner_id!, { id: current.id, fence: late.fence, failureClass: 'agent', reason: 'x', message: '', wipSha: null })),
    ]
    for (const write of writes) await expect(write()).rejects.toMatchObject({ code: 'stale_fence' })
    expect([await ticketById(db.read, late.ticket_id), await attemptsOf(db.read, late.ticket_id)]).toEqual(before)
  })

  test('a lost answer is given again: the same report twice changes nothing more', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'a' }])
    const attempt = (await engine.claim(undefined, 'claim-key-1'))!
    const complete = () => db.write((trx) => completeAttempt(trx, engine.deps, attempt.runner_id!, { id: attempt.id, fence: attempt.fence, headSha: HEAD, summary: 'done' }))
    await complete()
    await complete()
    expect(await engine.state(ids.get('a')!)).toBe('verifying')
  })

  test('a claim that is repeated with its key gives the same work', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const source = sourceOf(db, engine)
    await engine.plan([{ key: 'a' }, { key: 'b' }])
    const runner = { id: (await db.read.selectFrom('runners').select('id').executeTakeFirstOrThrow()).id, name: 'r', isolates: true, takesNew: true }
    const first = await db.write((trx) => source.claim(trx, runner, 'claim-key-1'))
    const again = await db.write((trx) => source.claim(trx, runner, 'claim-key-1'))
    expect(again).toEqual(first)
  })

  test('a dependency that is named twice is one, inside of a plan and outside of it', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const outside = (await engine.plan([{ key: 'outside' }])).get('outside')!
    const ids = await engine.plan([{ key: 'a' }, { key: 'b', dependsOn: [outside, 'a', outside, 'a'] }])
    expect(await ticketById(db.read, ids.get('b')!)).toMatchObject({ open_dependencies: 2 })
    expect(await db.read.selectFrom('ticket_dependencies').select('depends_on_id').where('ticket_id', '=', ids.get('b')!).execute()).toHaveLength(2)
    const created = await db.read.selectFrom('events').select('data').where('subject_id', '=', ids.get('b')!).executeTakeFirstOrThrow()
    expect(JSON.parse(created.data)).toMatchObject({ dependsOn: [outside, ids.get('a')] })
  })

  test('a heartbeat keeps the lease; without one the ticket goes to somebody else, with the attempt kept', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const source = sourceOf(db, engine)
    const ids = await engine.plan([{ key: 'a' }])
    const attempt = (await engine.claim())!
    engine.clock.now += 20_000
    const beat = { kind: 'attempt' as const, id: attempt.id, fence: attempt.fence, vmId: null, activityAtMs: null }
    expect(await db.write((trx) => source.heartbeat(trx, attempt.runner_id!, [beat]))).toEqual([])
    engine.clock.now += 20_000
    expect(await db.write((trx) => source.expire(trx, engine.clock.now))).toBe(0)
    engine.clock.now += 11_000
    expect(await db.write((trx) => source.expire(trx, engine.clock.now))).toBe(1)
    expect(await engine.state(ids.get('a')!)).toBe('ready')
    expect(await db.write((trx) => source.heartbeat(trx, attempt.runner_id!, [beat]))).toEqual([{ id: attempt.id, code: 'lost', reason: 'the lease is gone' }])
    expect((await attemptsOf(db.read, ids.get('a')!))[0]).toMatchObject({ state: 'failed', failure_class: 'infrastructure', failure_reason: 'lease_expired' })
  })

  test('a failed gate hands its findings to the next attempt, and the third failure asks a person', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'a' }])
    const ticketId = ids.get('a')!
    const finding = { code: 'file_rewritten', severity: 'error' as const, path: 'src/a.js', line: null, message: 'm', remedy: 'r' }
    for (let number = 1; number <= 3; number++) {
      const attempt = (await engine.claim())!
      expect(attempt.number).toBe(number)
      await db.write((trx) => completeAttempt(trx, engine.deps, attempt.runner_id!, { id: attempt.id, fence: attempt.fence, headSha: HEAD, summary: '' }))
      await db.write((trx) => engine.commands.verificationFailed(trx, {
        attemptId: attempt.id, failureClass: 'policy', reason: 'gate', message: 'm', evidence: { failureClass: 'policy', reason: 'gate', findings: [finding], checkOutput: '', conflict: '' },
      }))
      const evidence = JSON.parse((await ticketById(db.read, ticketId))!.evidence) as { number: number; findings: unknown[] }[]
      expect(evidence.map((item) => item.number)).toEqual(Array.from({ length: number }, (_, index) => index + 1))
      expect(evidence.at(-1)!.findings).toEqual([finding])
    }
    expect(await engine.state(ticketId)).toBe('on_hold')
    expect(await engine.claim()).toBeNull()
    await db.write((trx) => retryTicket(trx, engine.deps, { ticketId, offerAgain: async () => false, correlationId: 'test' }))
    expect((await engine.claim())!.number).toBe(4)
  })

  test('an infrastructure fault waits with growing pauses and goes on from the work that was saved', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'a' }])
    const attempt = (await engine.claim())!
    await db.write((trx) => trx.updateTable('attempts').set({ base_sha: 'b'.repeat(40) }).where('id', '=', attempt.id).execute())
    await db.write((trx) => failAttempt(trx, engine.deps, attempt.runner_id!, { id: attempt.id, fence: attempt.fence, failureClass: 'infrastructure', reason: 'vm_crashed', message: '', wipSha: HEAD }))
    expect(await engine.claim()).toBeNull()
    expect((await ticketById(db.read, ids.get('a')!))!.retry_at).toBe(engine.clock.now + 500)
    engine.clock.now += 500
    expect(await engine.claim()).toMatchObject({ number: 2, base_sha: 'b'.repeat(40), start_sha: HEAD })
  })

  test('a question parks the attempt without a lease, and the answer resumes the same attempt under a new fence', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'a' }])
    const attempt = (await engine.claim())!
    await db.write((trx) => recordStatus(trx, engine.deps, attempt.runner_id!, { ...report, id: attempt.id, fence: attempt.fence }))
    await db.write((trx) => releaseAttempt(trx, engine.deps, attempt.runner_id!, {
      id: attempt.id, fence: attempt.fence, reason: 'question', wipSha: HEAD, question: { text: 'Which?', options: [], toolUseId: 'toolu_1', transcriptDigest: 'sha256:0' },
    }))
    expect(await engine.state(ids.get('a')!)).toBe('on_hold')
    expect(await engine.claim()).toBeNull()
    const [open] = await questions(db.read, { open: true, projects: 'all' })
    await db.write((trx) => answer(trx, engine.deps, { questionId: open!.id, answer: 'This.', by: 'admin', correlationId: 'test' }))
    await expect(db.write((trx) => answer(trx, engine.deps, { questionId: open!.id, answer: 'That.', by: 'admin', correlationId: 'test' }))).rejects.toMatchObject({ code: 'already_decided' })
    const resumed = (await engine.claim())!
    expect(resumed).toMatchObject({ id: attempt.id, number: 1 })
    expect(resumed.fence).toBeGreaterThan(attempt.fence)
  })

  test('holding a running ticket stops its runner, which gives the work back; a retry starts from it', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const source = sourceOf(db, engine)
    const ids = await engine.plan([{ key: 'a' }])
    const attempt = (await engine.claim())!
    await db.write((trx) => stopTicket(trx, engine.deps, { ticketId: ids.get('a')!, to: 'on_hold', reason: 'wait', correlationId: 'test' }))
    const beat = { kind: 'attempt' as const, id: attempt.id, fence: attempt.fence, vmId: null, activityAtMs: null }
    expect(await db.write((trx) => source.heartbeat(trx, attempt.runner_id!, [beat]))).toEqual([{ id: attempt.id, code: 'stopped', reason: 'wait' }])
    await db.write((trx) => releaseAttempt(trx, engine.deps, attempt.runner_id!, { id: attempt.id, fence: attempt.fence, reason: 'shutdown', wipSha: HEAD }))
    await db.write((trx) => retryTicket(trx, engine.deps, { ticketId: ids.get('a')!, offerAgain: async () => false, correlationId: 'test' }))
    expect(await engine.claim()).toMatchObject({ number: 2, start_sha: HEAD })
  })

  test('every transition that the table does not have is refused and leaves the ticket as it was', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'a' }])
    const id = ids.get('a')!
    for (const from of TICKET_STATES) {
      for (const to of TICKET_STATES) {
        await db.write((trx) => trx.updateTable('tickets').set({ state: from }).where('id', '=', id).execute())
        const ticket = (await ticketById(db.read, id))!
        const move = db.write((trx) => moveTicket(trx, ticket, to, { correlationId: 'test', now: 1 }))
        if (mayBecome(from, to)) {
          await move
          expect(await engine.state(id)).toBe(to)
        } else {
          await expect(move).rejects.toMatchObject({ code: 'illegal_transition' })
          expect(await engine.state(id)).toBe(from)
        }
      }
    }
  })
})
