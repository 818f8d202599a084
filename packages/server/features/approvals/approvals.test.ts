import { expect, test } from 'vitest'
import type { Database } from '../../db/database.ts'
import { eachDialect } from '../../db/testing.ts'
import { newId } from '../../ids.ts'
import type { Decision } from './testing.ts'
import { approvalWorld } from './testing.ts'

const codeOf = (outcome: PromiseSettledResult<unknown>): string => outcome.status === 'fulfilled' ? 'done' : String((outcome.reason as { code?: string }).code)

async function eventTypes(db: Database): Promise<string[]> {
  // Not by the reader of the log: on PostgreSQL that waits for older transactions of the whole cluster, other tests' too.
  return (await db.read.selectFrom('events').select('type').orderBy('seq').execute()).map((event) => event.type)
}

eachDialect((_dialect, make) => {
  test('of racing decisions the first wins, its action happens once, and the others are told who was first', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = approvalWorld(db)
    const id = await world.request('build_start', { plan: 'a' })
    const decisions: Decision[] = ['approved', 'rejected', 'approved', 'revision_requested', 'approved', 'rejected']
    const outcomes = await Promise.allSettled(decisions.map((decision, n) => world.decide(id, decision, { by: `person ${n}` })))
    const row = await world.row(id)
    expect(row.status).not.toBe('pending')
    outcomes.forEach((outcome, n) => { expect(codeOf(outcome)).toBe(decisions[n] === row.status ? 'done' : 'already_decided') })
    expect(world.done).toEqual(row.status === 'approved' ? [`approved ${id}`] : [`${row.status} ${id}`])
    expect((await eventTypes(db)).filter((type) => type === 'approval:resolved')).toHaveLength(1)
  })

  test('an approval whose decision is the action is used in the same unit, and only then', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = approvalWorld(db)
    const approved = await world.request('build_start', { plan: 'a' })
    await world.decide(approved, 'approved')
    expect(await world.row(approved)).toMatchObject({ status: 'approved', used_at: expect.any(Number) as number })
    await world.decide(approved, 'approved')
    expect(world.done).toEqual([`approved ${approved}`])
    const rejected = await world.request('build_start', { plan: 'b' })
    await world.decide(rejected, 'rejected')
    expect(await world.row(rejected)).toMatchObject({ status: 'rejected', used_at: null })
    expect((await eventTypes(db)).filter((type) => type === 'approval:used')).toHaveLength(1)
  })

  test('an action that fails undoes its decision: the approval waits as before', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = approvalWorld(db)
    const id = await world.request('build_start', { plan: 'a' })
    world.failNext()
    await expect(world.decide(id, 'approved')).rejects.toThrow('the action failed')
    expect(await world.row(id)).toMatchObject({ status: 'pending', used_at: null, decided_by: null })
    expect(await eventTypes(db)).toEqual(['approval:requested'])
  })

  test('a decision about something else than what is asked now decides nothing', async () => {
    await using place = await make()
    await using db = await place.open()
    const world = approvalWorld(db)
    const first = await world.request('merge', { head: 'a' })
    const second = await world.request('merge', { head: 'b' })
    expect(second).not.toBe(first)
    expect(await world.row(first)).toMatchObject({ status: 'cancelled' })
    await expect(world.decide(first, 'approved')).rejects.toMatchObject({ code: 'already_decided' })
    await expect(world.decide(second, 'approved', { payloadHash: (await world.row(first)).payload_hash })).rejects.toMatchObject({ code: 'payload_changed' })
    await expect(world.decide(newId('approval'), 'approved', { payloadHash: 'x' })).rejects.toMatchObject({ code: 'not_found' })
    expect(world.done).toEqual([])
    expect(await world.row(second)).toMatchObject({ status: 'pending' })
  })
})
