import { join } from 'node:path'
import { git } from '@swarm/git/run.ts'
import { expect, test } from 'vitest'
import type { Database } from '../../db/database.ts'
import { eachDialect } from '../../db/testing.ts'
import { readSettled } from '../../events/testing.ts'
import { newId } from '../../ids.ts'
import { createBlobFolder } from '../../integrations/blobs-folder.ts'
import { mergePathOver } from '../changes/testing.ts'
import { planRetention } from './plan.ts'
import { retentionDuty } from './retention.ts'

const DAY_MS = 24 * 60 * 60 * 1000
const KEEP_ALL = { blobDays: 0, blobMb: 0, refDays: 0 }
const never = new AbortController().signal

eachDialect((_, make) => {
  test('refs of tickets that are long over go, each recorded; of work that is not over none does, and main keeps all it had', { timeout: 60_000 }, async () => {
    await using place = await make()
    await using db = await place.open()
    const world = await mergePathOver(db, place.home, 'checks: { test: "true" }\n')
    const blobs = await createBlobFolder(join(place.home, 'blobs'))
    const [done, open, cancelled] = [await world.inReview('done', { 'a.txt': 'a\n' }), await world.inReview('open', { 'b.txt': 'b\n' }), await world.plan('cancelled')]
    const work = await world.attempt(cancelled, { 'c.txt': 'c\n' })
    await world.decide(done)
    await world.drain()
    await db.write(async (trx) => {
      await trx.updateTable('attempts').set({ state: 'cancelled', ended_at: world.clock.now }).where('id', '=', work.id).execute()
      await trx.updateTable('tickets').set({ state: 'cancelled', updated_at: world.clock.now }).where('id', '=', cancelled).execute()
    })
    const attemptsOf = async (ticketId: string): Promise<string[]> => (await db.read.selectFrom('attempts').select('id').where('ticket_id', '=', ticketId).execute()).map(({ id }) => id)
    const refs = async (): Promise<string[]> => (await git(world.path, ['for-each-ref', '--format=%(refname)', 'refs/swarm'])).stdout.trim().split('\n')
    const main = await world.main()
    const reflog = (await git(world.path, ['reflog', 'show', 'refs/heads/main'])).stdout
    const rules = { ...KEEP_ALL, refDays: 30 }
    const at = (days: number) => ({ read: db.read, blobs, now: () => world.clock.now + days * DAY_MS, pathOf: () => world.path })
    expect((await planRetention(at(29), rules)).refs).toEqual([])
    expect((await planRetention(at(31), KEEP_ALL)).refs).toEqual([])

    const before = await refs()
    const removed: number[] = []
    const duty = retentionDuty({ ...at(31), db, rules, onRemoved: (piece) => removed.push(piece.refs) })
    while (await duty.run(never));
    const gone = before.filter((ref) => ref.startsWith('refs/swarm/'))
    const after = await refs()
    const old = [...await attemptsOf(done), ...await attemptsOf(cancelled)]
    expect(after.filter((ref) => old.some((id) => ref.includes(id)))).toEqual([])
    expect(after).toEqual(before.filter((ref) => after.includes(ref)))
    expect(removed.reduce((sum, count) => sum + count, 0)).toBe(gone.length - after.length)
    for (const id of await attemptsOf(open)) expect(after.some((ref) => ref.includes(id))).toBe(true)
    expect(await world.main()).toBe(main)
    expect((await git(world.path, ['reflog', 'show', 'refs/heads/main'])).stdout).toBe(reflog)
    await git(world.path, ['fsck', '--connectivity-only'])
    const { events } = await readSettled(db, null, 1_000, { types: ['retention:removed'] })
    expect(events).toMatchObject([{ subject: { kind: 'repository', id: world.repositoryId }, data: { what: 'refs', count: gone.length - after.length } }])
    expect((await planRetention(at(31), rules)).refs).toEqual([])
    // Not before a day has gone by.
    expect(await duty.nextAt?.()).toBe(world.clock.now + 32 * DAY_MS)
    // What is open goes its way to main.
    await world.decide(open)
    await world.drain()
    expect((await world.ticket(open)).state).toBe('done')
  })

  test('blobs that only long ended work names go; what open work, evidence or a young call names stays', { timeout: 60_000 }, async () => {
    await using place = await make()
    await using db = await place.open()
    const world = await mergePathOver(db, place.home, 'checks: { test: "true" }\n')
    const blobs = await createBlobFolder(join(place.home, 'blobs'))
    const [done, open] = [await world.inReview('done', { 'a.txt': 'a\n' }), await world.inReview('open', { 'b.txt': 'b\n' })]
    await world.decide(done)
    await world.drain()
    const keep = async (text: string): Promise<string> => (await blobs.put(text)).digest
    const [ended, working, evidence, young, nobody] = [await keep('ended'), await keep('working'), await keep('evidence'), await keep('young'), await keep('x'.repeat(2 * 1024 ** 2))]
    const now = Date.now() + 100 * DAY_MS
    await call(db, { projectId: world.projectId, ticketId: done, digest: ended, at: 1 })
    await call(db, { projectId: world.projectId, ticketId: open, digest: working, at: 1 })
    await call(db, { projectId: world.projectId, ticketId: done, digest: young, at: now - 5 * DAY_MS })
    await db.write((trx) => trx.updateTable('changes').set({ evidence: JSON.stringify({ transcript: evidence }) }).where('ticket_id', '=', done).execute())
    const deps = { read: db.read, blobs, now: () => now, pathOf: () => world.path }
    const planned = async (rules: Partial<typeof KEEP_ALL>): Promise<string[]> => (await planRetention(deps, { ...KEEP_ALL, ...rules })).blobs.map(({ digest }) => digest).sort()
    expect(await planned({})).toEqual([])
    expect(await planned({ blobDays: 101 })).toEqual([])
    expect(await planned({ blobDays: 90 })).toEqual([ended, nobody].sort())
    // By size, young calls of ended work give way as well, but nothing that is needed.
    expect(await planned({ blobMb: 3 })).toEqual([])
    expect(await planned({ blobMb: 1 })).toContain(nobody)
    expect(await planned({ blobMb: 1 })).not.toEqual(expect.arrayContaining([working]))

    const duty = retentionDuty({ ...deps, db, rules: { ...KEEP_ALL, blobDays: 90 } })
    while (await duty.run(never));
    await expect(blobs.get(ended)).rejects.toMatchObject({ code: 'blob_not_found', remedy: expect.stringContaining('retention') as string })
    for (const digest of [working, evidence, young]) expect(await blobs.has(digest)).toBe(true)
    const { events } = await readSettled(db, null, 1_000, { types: ['retention:removed'] })
    expect(events).toMatchObject([{ data: { what: 'blobs', count: 2, bytes: 2 * 1024 ** 2 + 5 } }])
    expect(await db.read.selectFrom('model_calls').select('request_digest').where('request_digest', '=', ended).execute()).toHaveLength(1)
  })
})

async function call(db: Database, about: { projectId: string; ticketId: string; digest: string; at: number }): Promise<void> {
  await db.write((trx) => trx.insertInto('model_calls').values({
    id: newId('call'), project_id: about.projectId, session_id: null, ticket_id: about.ticketId, attempt_id: null, role: 'developer', step: null, provider: 'rehearsal', model: 'm', state: 'settled', estimated: 0,
    reserved_micro_usd: 0, reserved_tokens: 0, cost_micro_usd: 0, input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, status: 200, tries: 1, request_digest: about.digest, response_digest: null,
    correlation_id: 'c', owner: 'o', created_at: about.at, ended_at: about.at,
  }).execute())
}
