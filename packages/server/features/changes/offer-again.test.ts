import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import { retryTicket, stopTicket } from '../tickets/people.ts'
import { offerAgain } from './offer-again.ts'
import { mergePathOver, type MergePath } from './testing.ts'

const CHECKS = 'checks: { test: "true" }\n'

eachDialect((_dialect, make) => {
  async function over(run: (world: MergePath, act: { hold(id: string): Promise<unknown>; retry(id: string): Promise<unknown> }) => Promise<void>): Promise<void> {
    await using place = await make()
    await using db = await place.open()
    const world = await mergePathOver(db, place.home, CHECKS)
    const deps = { now: () => world.clock.now++, random: () => 0, makeId: () => { throw new Error('not used here') } }
    const offer = offerAgain({ db, now: deps.now, makeId: deps.makeId, tickets: world.tickets, approvals: world.approvals, reviews: world.reviews.commands, locate: deps.makeId, batchSize: 8, checks: { enqueue: deps.makeId, cancel: deps.makeId, readPlan: deps.makeId, sealPlan: deps.makeId, readResults: deps.makeId, failedOutput: deps.makeId } })
    await run(world, {
      hold: (ticketId) => db.write((trx) => stopTicket(trx, deps, { ticketId, to: 'on_hold', reason: 'wait', correlationId: 'test' })),
      retry: (ticketId) => db.write((trx) => retryTicket(trx, deps, { ticketId, offerAgain: offer, correlationId: 'test' })),
    })
    await world.app.close()
  }

  test('a ticket that was held in review and retried is in review again with the same head, and merges by its approval', () => over(async (world, act) => {
    const id = await world.inReview('a', { 'a.txt': 'a\n' })
    const { head_sha: head } = await world.ticket(id)
    const approval = await world.approval(id)
    await act.hold(id)
    await act.retry(id)
    expect(await world.ticket(id)).toMatchObject({ state: 'in_review', head_sha: head, attempt_count: 1 })
    expect(await world.approval(id)).toMatchObject({ id: approval.id, status: 'pending' })
    await world.decide(id)
    await world.drain()
    expect((await world.ticket(id)).state).toBe('done')
  }))

  test('one that was held on its way to main asks anew: the decision that it had is not used again', () => over(async (world, act) => {
    const id = await world.inReview('a', { 'a.txt': 'a\n' })
    await world.push({ 'other.txt': 'x\n' })
    await world.decide(id)
    const used = await world.approval(id)
    await world.duty('merge queue')
    expect(await world.entry(id)).toMatchObject({ state: 'checking' })
    await act.hold(id)
    // Its batch may have landed in this very moment: the queue says first what became of it.
    await expect(act.retry(id)).rejects.toMatchObject({ code: 'change_not_open' })
    expect((await world.ticket(id)).state).toBe('on_hold')
    await world.duty('merge queue')
    await act.retry(id)
    expect((await world.ticket(id)).state).toBe('in_review')
    expect((await world.entry(id)).state).toBe('cancelled')
    const asked = await world.approval(id)
    expect(asked).toMatchObject({ status: 'pending', payload_hash: used.payload_hash })
    expect(asked.id).not.toBe(used.id)
    await world.drain()
    expect((await world.ticket(id)).state).toBe('in_review')
    await world.decide(id)
    await world.drain()
    expect(await world.ticket(id)).toMatchObject({ state: 'done', attempt_count: 1 })
    expect(await world.unproven((await world.mainHistory()).slice(-1))).toEqual([])
  }))

  test('one that a person sent back for changes is worked on again, and its old head is not offered', () => over(async (world, act) => {
    const id = await world.inReview('a', { 'a.txt': 'a\n' })
    await world.decide(id, 'revision_requested', 'call it b')
    await act.hold(id)
    await act.retry(id)
    expect((await world.ticket(id)).state).toBe('ready')
  }))
})
