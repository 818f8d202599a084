import { mkdir, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import type { IntegrityReport } from '@swarm/contract/integrity.ts'
import { DEFAULT_ORGANIZATION_ID } from '@swarm/core/policy/actions.ts'
import { eachDialect, type TestDatabase } from '../../db/testing.ts'
import { appendEvents } from '../../events/events.ts'
import { newId } from '../../ids.ts'
import { mergePathOver, type MergePath } from '../changes/testing.ts'
import { changeProject, createProject } from '../projects/service.ts'
import { retryTicket, stopTicket } from '../tickets/people.ts'
import { checkRecords } from './integrity.ts'

const NOTHING = { leftovers: [], liveVms: [], processes: 0 }
const check = (place: TestDatabase): Promise<IntegrityReport> => checkRecords({ home: place.home, databaseUrl: place.databaseUrl, settled: true }, NOTHING)

interface Planted { readonly done: string; readonly review: string; readonly home: string }

async function lastAttempt(world: MergePath, ticketId: string): Promise<string> {
  return (await world.db.read.selectFrom('attempts').select('id').where('ticket_id', '=', ticketId).executeTakeFirstOrThrow()).id
}

/** One promise each, broken by hand past every guard of the product. */
const PLANTS: Record<IntegrityReport['violations'][number]['invariant'], (world: MergePath, at: Planted) => Promise<unknown>> = {
  I1: async (world, { review }) => {
    const approval = await world.approval(review)
    await world.db.write(async (trx) => {
      await trx.updateTable('approvals').set({ status: 'expired' }).where('id', '=', approval.id).execute()
      await appendEvents(trx, [{ type: 'approval:resolved', projectId: world.projectId, subject: { kind: 'change', id: approval.subject_id }, data: { approvalId: approval.id, status: 'expired' } }])
    })
  },
  I2: async (world, { done }) => {
    const attemptId = await lastAttempt(world, done)
    await world.db.write((trx) => appendEvents(trx, [{ type: 'ticket:activity', projectId: world.projectId, subject: { kind: 'ticket', id: done }, data: { attemptId, event: { type: 'text' } } }]))
  },
  I3: async (world, { review }) => git(world.path, ['update-ref', `refs/heads/${(await world.ticket(review)).branch}`, await world.main()]),
  I4: (world) => world.push({ 'by-hand.txt': 'x\n' }),
  I5: async (world, { done }) => git(world.path, ['update-ref', '-d', `refs/swarm/attempts/${await lastAttempt(world, done)}/work`]),
  I6: async (world) => {
    const id = newId('call')
    await world.db.write(async (trx) => {
      await trx.insertInto('model_calls').values({
        id, project_id: world.projectId, session_id: null, ticket_id: null, attempt_id: null, role: 'developer', step: null, provider: 'rehearsal', model: 'rehearsal', state: 'open', estimated: 0,
        reserved_micro_usd: 10, reserved_tokens: 0, cost_micro_usd: null, tokens: null, ceiling: null, approval_id: null, input_tokens: null, output_tokens: null, cache_read_tokens: null, cache_write_tokens: null, status: null, tries: 0,
        request_digest: null, response_digest: null, correlation_id: id, owner: `${hostname()}/999999999/gone`, created_at: 1, ended_at: null,
      }).execute()
      await appendEvents(trx, [{ type: 'model:reserved', projectId: world.projectId, subject: { kind: 'project', id: world.projectId }, data: { callId: id, reservedMicroUsd: 10, projectId: world.projectId, sessionId: null } }])
    })
  },
  I7: async (_world, { home }) => {
    await mkdir(join(home, 'logs'), { recursive: true })
    const usage = { input_tokens: 10, output_tokens: 1, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 }
    await writeFile(join(home, 'logs', 'rehearsal.jsonl'), `${JSON.stringify({ callId: newId('call'), model: 'rehearsal', complete: true, usage })}\n`)
  },
  I8: (world, { done, review }) => world.db.write(async (trx) => { await trx.insertInto('ticket_dependencies').values({ ticket_id: done, depends_on_id: review }).execute() }),
  I9: (world, { done }) => world.db.write(async (trx) => { await trx.updateTable('tickets').set({ attempt_count: 7 }).where('id', '=', done).execute() }),
  I10: async (world, { done }) => {
    const approval = await world.approval(done)
    await world.db.write(async (trx) => { await trx.updateTable('approvals').set({ payload: approval.payload.replace('{', '{ ') }).where('id', '=', approval.id).execute() })
  },
}

eachDialect((_dialect, make) => {
  test('a sound installation has no violation, and everything in it was looked at', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = await mergePathOver(db, place.home, 'checks: { test: "true" }\n')
    world.clock.now = Date.now()
    const first = await world.inReview('a', { 'a.txt': 'a\n' })
    await world.inReview('b', { 'b.txt': 'b\n' })
    await world.decide(first)
    await world.drain()
    expect((await world.ticket(first)).state).toBe('done')
    expect(await check(place)).toMatchObject({ ok: true, violations: [], checked: { tickets: 2, attempts: 2, changes: 2, approvals: 2, mainValues: 2 } })
  })

  test('each promise that is broken by hand is reported as that one, once', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = await mergePathOver(db, place.home, 'checks: { test: "true" }\n')
    world.clock.now = Date.now()
    const done = await world.inReview('a', { 'a.txt': 'a\n' })
    await world.decide(done)
    await world.drain()
    const review = await world.inReview('b', { 'b.txt': 'b\n' })
    let before = (await check(place)).violations
    expect(before).toEqual([])
    for (const [invariant, plant] of Object.entries(PLANTS)) {
      await plant(world, { done, review, home: place.home })
      const after = (await check(place)).violations
      const known = new Set(before.map((violation) => JSON.stringify(violation)))
      expect(after.filter((violation) => !known.has(JSON.stringify(violation))).map((violation) => violation.invariant), invariant).toEqual([invariant])
      before = after
    }
    expect(before).toHaveLength(10)
  })

  test('a ticket that was held and set going again while its runner still saves breaks nothing', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = await mergePathOver(db, place.home, 'checks: { test: "true" }\n')
    world.clock.now = Date.now()
    const ticketId = await world.plan('a')
    const { id } = await world.claim(ticketId)
    const deps = { now: () => world.clock.now, random: () => 0, makeId: newId }
    await db.write((trx) => stopTicket(trx, deps, { ticketId, to: 'on_hold', reason: 'wait', correlationId: 'test' }))
    await db.write((trx) => retryTicket(trx, deps, { ticketId, offerAgain: async () => false, correlationId: 'test' }))
    expect(await world.ticket(ticketId)).toMatchObject({ state: 'ready' })
    expect((await check(place)).violations).toEqual([])
    await db.write(async (trx) => { await trx.updateTable('attempts').set({ stop_reason: null }).where('id', '=', id).execute() })
    expect((await check(place)).violations).toMatchObject([{ invariant: 'I2', subject: { kind: 'ticket', id: ticketId } }])
  })

  test.for([
    ['money of the project', { maxCostMicroUsd: 100 }, () => ({})], ['tokens of the project', { maxTokens: 100 }, () => ({})],
    ['money of each ticket', { ticketMaxCostMicroUsd: 100 }, (projectId: string) => ({ ticketId: `TKT-${projectId}` })], ['tokens of each ticket', { ticketMaxTokens: 100 }, (projectId: string) => ({ ticketId: `TKT-${projectId}` })],
  ] as const)('a call above the %s is reported, before and after the settings of the project were changed', async ([_name, ceiling, account]) => {
    await using place = await make()
    await using db = await place.open()
    const { id: created, settings } = await db.write((trx) => createProject(trx, { id: newId('project'), organizationId: DEFAULT_ORGANIZATION_ID, slug: 'q', settings: ceiling, now: 1, correlationId: 'test' }))
    // One whose beginning no event tells of.
    const older = newId('project')
    await db.write(async (trx) => { await trx.insertInto('projects').values({ id: older, slug: 'older', name: 'older', settings: JSON.stringify(settings), created_at: 1 }).execute() })
    for (const projectId of [created, older]) {
      const call = async (amount: number): Promise<string> => {
        const id = newId('call')
        const about = { projectId, subject: { kind: 'project', id: projectId } }
        await db.write((trx) => appendEvents(trx, [
          { type: 'model:reserved', ...about, data: { callId: id, reservedMicroUsd: amount, reservedTokens: amount, projectId, ...account(projectId) } },
          { type: 'model:call', ...about, data: { callId: id, costMicroUsd: amount, tokens: amount, projectId, ...account(projectId) } },
        ]))
        return id
      }
      const breaches = async (): Promise<unknown[]> => (await check(place)).violations.filter(({ invariant, evidence }) => invariant === 'I7' && String(evidence['purse']).includes(projectId)).map(({ subject }) => subject.id)
      const above = [await call(101)]
      await db.write((trx) => changeProject(trx, projectId, { settings: { concurrency: 2 } }, 'test'))
      above.push(await call(1))
      await db.write((trx) => changeProject(trx, projectId, { settings: Object.fromEntries(Object.keys(ceiling).map((name) => [name, 1_000])) }, 'test'))
      await call(100)
      expect(await breaches()).toEqual(above)
    }
  })

  test('main rests on the check run of the batch that landed it, or on a pass before it moved: a pass of another run, or a later one, does not count', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = await mergePathOver(db, place.home, 'checks: { test: "true" }\n')
    world.clock.now = Date.now()
    const [first, second] = [await world.inReview('a', { 'a.txt': 'a\n' }), await world.inReview('b', { 'b.txt': 'b\n' })]
    for (const ticketId of [first, second]) await world.decide(ticketId)
    await world.drain()
    expect((await world.ticket(second)).state).toBe('done')
    const found = async (): Promise<unknown[]> => (await check(place)).violations.filter(({ invariant }) => invariant === 'I4').map(({ message }) => message)
    expect(await found()).toEqual([])

    const batch = await db.read.selectFrom('merge_batches').selectAll().where('state', '=', 'landed').orderBy('created_at', 'desc').limit(1).executeTakeFirstOrThrow()
    const own = await db.read.selectFrom('check_runs').selectAll().where('id', '=', batch.check_id).executeTakeFirstOrThrow()
    const move = async (endedAt: number): Promise<void> => db.write(async (trx) => { await trx.updateTable('check_runs').set({ ended_at: endedAt }).where('tree_sha', '=', own.tree_sha).execute() })
    const later = Date.now() + 3_600_000
    await move(later)
    expect(await found()).toEqual([expect.stringContaining('passed its checks only later')])
    await move(own.ended_at ?? 0)
    // The same tree passed in another run; the batch's own was never made, and rests on a pass under another plan.
    const other = newId('check')
    await db.write(async (trx) => {
      await trx.insertInto('check_runs').values({ ...own, id: other, plan_digest: 'another' }).execute()
      await trx.updateTable('check_runs').set({ results: JSON.stringify({ results: [], reusedFrom: other }) }).where('id', '=', own.id).execute()
    })
    expect(await found()).toEqual([expect.stringContaining('its own check run')])
    await db.write(async (trx) => { await trx.updateTable('check_runs').set({ plan_digest: own.plan_digest }).where('id', '=', other).execute() })
    expect(await found()).toEqual([])
    await db.write(async (trx) => { await trx.updateTable('check_runs').set({ state: 'failed' }).where('id', '=', own.id).execute() })
    expect(await found()).toEqual([expect.stringContaining('its own check run')])

    // Somebody moves main, and it is checked afterwards.
    const sha = await world.push({ 'by-hand.txt': 'x\n' })
    const tree = (await git(world.path, ['rev-parse', `${sha}^{tree}`])).stdout.trim()
    await db.write(async (trx) => { await trx.insertInto('check_runs').values({ ...own, id: newId('check'), tree_sha: tree, ended_at: later }).execute() })
    expect(await found()).toEqual([expect.stringContaining('its own check run'), expect.stringContaining('passed its checks only later')])
  })

  test('a database of an older Swarm, or none, is said to be that', async () => {
    await using place = await make('empty')
    await expect(check(place)).rejects.toMatchObject({ code: place.databaseUrl === undefined ? 'database_missing' : 'database_older' })
  })
})
