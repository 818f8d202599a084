import { sql } from 'kysely'
import { expect, test } from 'vitest'
import type { Database } from '../../db/database.ts'
import { eachDialect } from '../../db/testing.ts'
import { createAttemptSource } from './attempt-source.ts'
import { retryTicket, stopTicket } from './people.ts'
import { attemptById, ticketById } from './queries.ts'
import type { AttemptRow } from './queries.ts'
import { answer, questions } from './questions.ts'
import { completeAttempt, failAttempt, recordStatus, releaseAttempt } from './reports.ts'
import { engineOver } from './testing.ts'
import type { EngineForTests } from './testing.ts'

const MAIN = 'a'.repeat(40)
const WORK = 'b'.repeat(40)

function sourceOf(db: Database, engine: EngineForTests, refs: Record<string, string> = {}) {
  return createAttemptSource({
    ...engine.deps, db, beatMs: 10_000, rules: engine.rules,
    defaults: { cpu: 1, memoryMb: 512, diskMb: 1024, minutes: 30, egressBytes: 1e9, pids: 512, outputBytes: 1e9 },
    inputs: { image: async () => ({ packages: [], npm: [], files: [] }), layer: async () => null },
    repositories: {
      head: async () => MAIN, setRef: async () => {}, resolve: async (_, ref) => refs[ref] ?? null,
      workPlan: async () => ({ setup: null, checks: [], image: { packages: [], npm: [] }, egressAllow: [], limits: {} }),
    },
    fixBudget: async () => {}, project: async () => ({ slug: 'p', settings: { egressAllow: [], vm: {} } }), repositorySlug: async () => 'r',
    agentDefinition: async () => ({ description: '', config: { template: 'shell', commands: ['true'] }, limits: {}, vm: {} }),
    mintToken: async () => 'token', readTranscript: async () => [], conventions: async () => '',
  })
}

/** A ticket whose agent asks a question, with work that was pushed before. */
async function parked(db: Database, engine: EngineForTests) {
  const ids = await engine.plan([{ key: 'a' }])
  const attempt = (await engine.claim())!
  await db.write((trx) => trx.updateTable('attempts').set({ base_sha: MAIN, start_sha: MAIN }).where('id', '=', attempt.id).execute())
  await db.write((trx) => releaseAttempt(trx, engine.deps, attempt.runner_id!, {
    id: attempt.id, fence: attempt.fence, reason: 'question', wipSha: WORK, question: { text: 'Which?', options: [], toolUseId: 'toolu_1', transcriptDigest: 'sha256:0' },
  }))
  const [question] = await questions(db.read, { open: true, projects: 'all' })
  return { ticketId: ids.get('a')!, attempt, questionId: question!.id }
}

eachDialect((dialect, make) => {
  if (dialect === 'postgres') test('what a runner says in the very moment in which its attempt ends is refused as a whole', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    for (const say of [
      (held: AttemptRow) => db.write((trx) => recordStatus(trx, engine.deps, held.runner_id!, { id: held.id, fence: held.fence, sequence: 1, activity: [{ type: 'text', text: 'late' }], egressRefusals: [] })),
      (held: AttemptRow) => db.write((trx) => completeAttempt(trx, engine.deps, held.runner_id!, { id: held.id, fence: held.fence, headSha: WORK, summary: 'late' })),
      (held: AttemptRow) => db.write((trx) => releaseAttempt(trx, engine.deps, held.runner_id!, { id: held.id, fence: held.fence, reason: 'shutdown', wipSha: WORK })),
    ]) {
      await engine.plan([{ key: 'a' }])
      const attempt = (await engine.claim())!
      let saying: Promise<unknown> = Promise.resolve()
      let settled = false
      await db.read.transaction().execute(async (ending) => {
        await ending.selectFrom('tickets').select('id').where('id', '=', attempt.ticket_id).forNoKeyUpdate().execute()
        await ending.updateTable('attempts').set({ state: 'failed', ended_at: engine.clock.now }).where('id', '=', attempt.id).execute()
        saying = say(attempt).then(() => 'taken', (error: unknown) => error).finally(() => { settled = true })
        // Either it waits for this transaction, or it is through already.
        const waiting = sql<{ n: number }>`select count(*) as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
        while (!settled && (await waiting.execute(db.read)).rows[0]?.n === 0);
      })
      expect(await saying).toMatchObject({ code: 'stale_fence' })
      expect(await db.read.selectFrom('events').select('type').where('correlation_id', '=', attempt.id).where('type', '=', 'ticket:activity').execute()).toEqual([])
      expect(await engine.state(attempt.ticket_id)).toBe('claimed')
    }
  })

  test('a ticket that is held and retried is not claimed before its runner gave back what it has', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'a' }])
    const attempt = (await engine.claim())!
    await db.write((trx) => stopTicket(trx, engine.deps, { ticketId: ids.get('a')!, to: 'on_hold', reason: 'wait', correlationId: 'test' }))
    await db.write((trx) => retryTicket(trx, engine.deps, { ticketId: ids.get('a')!, offerAgain: async () => false, correlationId: 'test' }))
    expect(await engine.claim()).toBeNull()
    await db.write((trx) => releaseAttempt(trx, engine.deps, attempt.runner_id!, { id: attempt.id, fence: attempt.fence, reason: 'shutdown', wipSha: WORK }))
    expect(await engine.claim()).toMatchObject({ number: 2, start_sha: WORK })
  })

  test('a ticket that is held and retried goes on when its runner is dead', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'a' }])
    await engine.claim()
    await db.write((trx) => stopTicket(trx, engine.deps, { ticketId: ids.get('a')!, to: 'on_hold', reason: 'wait', correlationId: 'test' }))
    await db.write((trx) => retryTicket(trx, engine.deps, { ticketId: ids.get('a')!, offerAgain: async () => false, correlationId: 'test' }))
    engine.clock.now += 31_000
    expect(await db.write((trx) => sourceOf(db, engine).expire(trx, engine.clock.now))).toBe(1)
    expect(await engine.claim()).toMatchObject({ number: 2 })
  })

  test('the answer to a question that nobody waits for any more is refused and moves no ticket', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const { ticketId, questionId } = await parked(db, engine)
    await db.write((trx) => retryTicket(trx, engine.deps, { ticketId, offerAgain: async () => false, correlationId: 'test' }))
    expect(await questions(db.read, { open: true, projects: 'all' })).toEqual([])
    const second = (await engine.claim())!
    await db.write((trx) => failAttempt(trx, engine.deps, second.runner_id!, { id: second.id, fence: second.fence, failureClass: 'budget', reason: 'used up', message: '', wipSha: null }))
    expect(await engine.state(ticketId)).toBe('on_hold')
    await expect(db.write((trx) => answer(trx, engine.deps, { questionId, answer: 'This.', by: 'admin', correlationId: 'test' }))).rejects.toMatchObject({ code: 'question_moot' })
    expect(await engine.state(ticketId)).toBe('on_hold')
  })

  test('of two who answer at once the first counts; the other is told who it was, and whoever said the same is answered alike', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const { questionId, attempt } = await parked(db, engine)
    const say = (words: string, by: string) => db.write((trx) => answer(trx, engine.deps, { questionId, answer: words, by, correlationId: 'test' }))
    const [one, two] = await Promise.allSettled([say('This.', 'admin one'), say('That.', 'admin two')])
    const [won, lost] = one.status === 'fulfilled' ? [one, two] : [two, one]
    if (won.status !== 'fulfilled' || won.value.answered_by === null) throw new Error('nobody answered')
    expect(lost).toMatchObject({ status: 'rejected', reason: { code: 'already_decided', details: { by: won.value.answered_by } } })
    expect(await say(won.value.answer!, 'admin three')).toMatchObject({ answered_by: won.value.answered_by })
    expect(await engine.claim()).toMatchObject({ id: attempt.id })
    // It goes on already: still whoever comes late hears of the answer.
    await expect(say('Other.', 'admin two')).rejects.toMatchObject({ code: 'already_decided' })
  })

  test('an answer that was given survives a hold and a retry: the same attempt resumes', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const { ticketId, questionId, attempt } = await parked(db, engine)
    await db.write((trx) => answer(trx, engine.deps, { questionId, answer: 'This.', by: 'admin', correlationId: 'test' }))
    await db.write((trx) => stopTicket(trx, engine.deps, { ticketId, to: 'on_hold', reason: 'wait', correlationId: 'test' }))
    await db.write((trx) => retryTicket(trx, engine.deps, { ticketId, offerAgain: async () => false, correlationId: 'test' }))
    expect(await engine.claim()).toMatchObject({ id: attempt.id, state: 'running' })
  })

  test('a retry without an answer goes on from the work that was pushed before the question', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const { ticketId } = await parked(db, engine)
    await db.write((trx) => retryTicket(trx, engine.deps, { ticketId, offerAgain: async () => false, correlationId: 'test' }))
    expect(await engine.claim()).toMatchObject({ number: 2, base_sha: MAIN, start_sha: WORK })
  })

  test('the server waits for an attempt beyond the limit of its agent, so that the runner can end it and save its work', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    await engine.plan([{ key: 'a' }])
    const attempt = (await engine.claim())!
    const source = sourceOf(db, engine)
    const beat = { kind: 'attempt' as const, id: attempt.id, fence: attempt.fence, vmId: null, activityAtMs: null }
    for (const end = engine.clock.now + 31 * 60_000; engine.clock.now < end; engine.clock.now += 20_000) {
      expect(await db.write((trx) => source.heartbeat(trx, attempt.runner_id!, [beat]))).toEqual([])
    }
    expect(await db.write((trx) => source.expire(trx, engine.clock.now))).toBe(0)
    await db.write((trx) => completeAttempt(trx, engine.deps, attempt.runner_id!, { id: attempt.id, fence: attempt.fence, headSha: WORK, summary: '' }))
  })

  test('a fault of the machine does not throw away what earlier attempts left to start from', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'a' }])
    await db.write((trx) => trx.updateTable('tickets').set({ next_base_sha: MAIN, next_start_sha: WORK }).where('id', '=', ids.get('a')!).execute())
    const attempt = (await engine.claim())!
    await db.write((trx) => failAttempt(trx, engine.deps, attempt.runner_id!, { id: attempt.id, fence: attempt.fence, failureClass: 'infrastructure', reason: 'restore_failed', message: '', wipSha: null }))
    engine.clock.now += 60_000
    const second = (await engine.claim())!
    expect(second).toMatchObject({ number: 2, base_sha: MAIN, start_sha: WORK })
    engine.clock.now += 31_000
    await db.write((trx) => sourceOf(db, engine).expire(trx, engine.clock.now))
    engine.clock.now += 60_000
    const third = (await engine.claim())!
    expect(third).toMatchObject({ number: 3, base_sha: MAIN, start_sha: WORK })
    await db.write((trx) => releaseAttempt(trx, engine.deps, third.runner_id!, { id: third.id, fence: third.fence, reason: 'shutdown', wipSha: null }))
    expect(await engine.claim()).toMatchObject({ number: 4, base_sha: MAIN, start_sha: WORK })
  })

  test('work that a runner pushed before it died is where the next attempt starts', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    await engine.plan([{ key: 'a' }])
    const attempt = (await engine.claim())!
    const source = sourceOf(db, engine, { [`refs/swarm/attempts/${attempt.id}/work`]: WORK, [WORK]: WORK })
    await source.describe(attempt.id, attempt.fence)
    engine.clock.now += 31_000
    await db.write((trx) => source.expire(trx, engine.clock.now))
    engine.clock.now += 60_000
    const second = (await engine.claim())!
    expect(await source.describe(second.id, second.fence)).toMatchObject({ baseSha: MAIN, startSha: WORK })
    expect(await attemptById(db.read, second.id)).toMatchObject({ base_sha: MAIN, start_sha: WORK })
  })

  test('a start that the repository does not have is not insisted upon: the attempt begins at its base', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const ids = await engine.plan([{ key: 'a' }])
    await db.write((trx) => trx.updateTable('tickets').set({ next_base_sha: MAIN, next_start_sha: WORK }).where('id', '=', ids.get('a')!).execute())
    const attempt = (await engine.claim())!
    expect(await sourceOf(db, engine).describe(attempt.id, attempt.fence)).toMatchObject({ baseSha: MAIN, startSha: MAIN })
    expect(await ticketById(db.read, ids.get('a')!)).toMatchObject({ state: 'claimed' })
  })
})
