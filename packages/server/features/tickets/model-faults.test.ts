import { expect, test } from 'vitest'
import { eachDialect } from '../../db/testing.ts'
import type { ModelFacts } from '../../ports.ts'
import { presentTickets } from './present.ts'
import { ticketById } from './queries.ts'
import { failAttempt } from './reports.ts'
import { engineOver } from './testing.ts'

eachDialect((_dialect, make) => {
  test('an overload of the model API burns no attempt: the ticket waits for the next probe, longer each time, and says so', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    let facts: Awaited<ReturnType<ModelFacts>> = { overload: { untilAskedMs: 30_000 } }
    const deps = { ...engine.deps, modelFacts: async () => facts }
    const id = (await engine.plan([{ key: 'a' }])).get('a')!
    const ticket = async () => (await ticketById(db.read, id))!
    const waits: number[] = []
    const fail = async (): Promise<void> => {
      const attempt = (await engine.claim())!
      await db.write((trx) => failAttempt(trx, deps, attempt.runner_id!, { id: attempt.id, fence: attempt.fence, failureClass: 'model', reason: 'model_overloaded', message: '529', wipSha: null }))
    }
    for (let i = 0; i < 12; i++) {
      await fail()
      const now = await ticket()
      expect(now).toMatchObject({ state: 'ready', evidence: '[]' })
      waits.push(now.retry_at! - engine.clock.now)
      expect((await presentTickets(db.read, [now], { concurrency: 100, concurrencyOf: async () => 100 }, engine.clock.now))[0]?.waitsFor).toContain('the model API, which is overloaded: its next try in ')
      engine.clock.now = now.retry_at!
    }
    expect(waits.slice(0, 3)).toEqual([32_500, 35_000, 40_000])
    expect(waits.at(-1)).toBe(180_000)
    // Real failures of the class count from one, and end with a person.
    facts = {}
    for (let i = 0; i < 5; i++) {
      await fail()
      engine.clock.now = (await ticket()).retry_at ?? engine.clock.now
    }
    expect(await ticket()).toMatchObject({ state: 'on_hold', hold_reason: '5 attempts failed (model); last: model_overloaded' })
  })

  test('a ticket that met a ceiling is on hold with the words of the ledger, and only what stopped at it goes on', async () => {
    await using place = await make()
    await using db = await place.open()
    const engine = await engineOver(db)
    const deps = { ...engine.deps, modelFacts: async () => ({ holdReason: 'the money ceiling of session SES-1 is used up: decide on APR-1' }) }
    const ids = await engine.plan([{ key: 'a' }, { key: 'b' }])
    const attempts = [(await engine.claim())!, (await engine.claim())!]
    for (const attempt of attempts) await db.write((trx) => failAttempt(trx, deps, attempt.runner_id!, { id: attempt.id, fence: attempt.fence, failureClass: 'budget', reason: 'budget_exhausted', message: '402', wipSha: null }))
    for (const id of ids.values()) expect(await ticketById(db.read, id)).toMatchObject({ state: 'on_hold', hold_reason: 'the money ceiling of session SES-1 is used up: decide on APR-1' })
    const resumed = await db.write((trx) => engine.commands.resumeHeld(trx, { attemptIds: [attempts[0]!.id], failureClass: 'budget', reason: 'the budget was raised', correlationId: 'test' }))
    expect(resumed).toEqual([attempts[0]!.ticket_id])
    expect(await engine.state(attempts[0]!.ticket_id)).toBe('ready')
    expect(await engine.state(attempts[1]!.ticket_id)).toBe('on_hold')
  })
})
