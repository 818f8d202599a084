import { APIError } from '@anthropic-ai/sdk'
import type Anthropic from '@anthropic-ai/sdk'
import { costOf } from '@swarm/core/budgets/reserve.ts'
import { priceOf } from '@swarm/core/budgets/prices.ts'
import type { Database } from '@swarm/server/db/database.ts'
import { eachDialect } from '@swarm/server/db/testing.ts'
import { breachDecided, type StoppedByBudget } from '@swarm/server/features/model/breach.ts'
import { fixAttemptCeilings } from '@swarm/server/features/model/ceilings.ts'
import { modelFacts } from '@swarm/server/features/model/facts.ts'
import { createLedger, NOTHING_SERVED } from '@swarm/server/features/model/ledger.ts'
import { expect, it } from 'vitest'
import { MODEL, world } from './gateway-world.ts'
import type { Rehearsal } from './server.ts'

/* Ceilings of every kind, overload, and fences, over real HTTP with the official SDK as the caller. */

const ask = (text = 'Begin.'): Anthropic.MessageCreateParamsNonStreaming => ({ model: MODEL, max_tokens: 2_000, messages: [{ role: 'user', content: text }] })
const rows = (db: Database) => db.read.selectFrom('model_calls').selectAll().orderBy('created_at').orderBy('id').execute()
const PRICE = priceOf(MODEL, Date.now()) ?? expect.fail('no price')
const SAY = '  - turns: [{ say: hello }]\n'
async function refused(call: Promise<unknown>): Promise<{ status: number | undefined; type: string | null }> {
  try {
    await call
  } catch (error) {
    if (error instanceof APIError) return { status: error.status as number | undefined, type: error.type }
    throw error
  }
  return expect.fail('the call was answered')
}
const settings = (db: Database, values: object) => db.write(async (trx) => { await trx.updateTable('projects').set({ settings: JSON.stringify(values) }).execute() })
/** What the rehearsal says that one call was served: money as the gateway prices it, and tokens. */
function served(call: ReturnType<Rehearsal['calls']>[number]): { microUsd: number; tokens: number } {
  const { usage } = call
  return {
    microUsd: costOf({ inputTokens: usage.input_tokens, outputTokens: usage.output_tokens, cacheReadTokens: usage.cache_read_input_tokens, cacheWrite5mTokens: usage.cache_creation_input_tokens, cacheWrite1hTokens: 0 }, PRICE),
    tokens: usage.input_tokens + usage.output_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens,
  }
}
const nothingStopped: StoppedByBudget = { resumeTickets: async () => [], resumeDesign: async () => false, setProject: async () => undefined }

eachDialect((_dialect, make) => {
  it.each([
    // A call reserves about 1,050 tokens × $5 + 2,000 × $25 = 55,000 µ$ or 3,050 tokens, and uses far less.
    ['money of a project', { maxCostMicroUsd: 150_000 }], ['tokens of a project', { maxTokens: 8_000 }], ['money of a ticket', { ticketMaxCostMicroUsd: 150_000 }],
    ['several at once', { maxCostMicroUsd: 200_000, maxTokens: 9_000, ticketMaxCostMicroUsd: 150_000, ticketMaxTokens: 8_000 }],
  ])('24 calls at once under one ceiling (%s) never overshoot it, and all are served and recorded to the token', async (_, ceilings) => {
    await using place = await make()
    await using w = await world(place, SAY)
    await settings(w.db, ceilings)
    const highest = { microUsd: 0, tokens: 0 }
    const looks: Promise<void>[] = []
    using unsubscribe = new DisposableStack()
    unsubscribe.defer(w.db.wake.on('events', () => {
      looks.push(w.db.read.selectFrom('model_calls').select((eb) => [eb.fn.sum<number>(eb.fn.coalesce('cost_micro_usd', 'reserved_micro_usd')).as('microUsd'), eb.fn.sum<number>(eb.fn.coalesce('tokens', 'reserved_tokens')).as('tokens')]).executeTakeFirstOrThrow().then((sum) => {
        highest.microUsd = Math.max(highest.microUsd, Number(sum.microUsd))
        highest.tokens = Math.max(highest.tokens, Number(sum.tokens))
      }))
    }))
    const results = await Promise.allSettled(Array.from({ length: 24 }, (_each, i) => w.client.messages.stream(ask(`Call ${i}`)).finalMessage()))
    await Promise.all(looks)
    expect(results.map((result) => result.status)).toEqual(Array.from({ length: 24 }, () => 'fulfilled'))
    const caps: { maxCostMicroUsd?: number; ticketMaxCostMicroUsd?: number; maxTokens?: number; ticketMaxTokens?: number } = ceilings
    expect(highest.microUsd).toBeLessThanOrEqual(Math.min(caps.maxCostMicroUsd ?? Infinity, caps.ticketMaxCostMicroUsd ?? Infinity))
    expect(highest.tokens).toBeLessThanOrEqual(Math.min(caps.maxTokens ?? Infinity, caps.ticketMaxTokens ?? Infinity))
    const recorded = await rows(w.db)
    expect(w.rehearsal.calls()).toHaveLength(24)
    for (const call of w.rehearsal.calls()) {
      const row = recorded.find((each) => each.id === call.callId)
      expect({ microUsd: row?.cost_micro_usd, tokens: row?.tokens }).toEqual(served(call))
    }
  }, 60_000)

  it('matches every served call with one row of the ledger by its id, also among refused, cut and silent tries', async () => {
    await using place = await make()
    const faults = ['fail: { status: 529, times: 2 }', 'cut: { afterEvents: 4, times: 2 }', 'cut: { afterEvents: 0, times: 2 }', 'silence: { ms: 60000, afterEvents: 3 }']
    await using w = await world(place, faults.map((fault, i) => `  - { role: role${i}, turns: [{ say: ${'word '.repeat(80)}, ${fault} }] }\n`).join(''), { gateway: { silenceMs: 200 } })
    await Promise.allSettled(Array.from({ length: 16 }, (_, i) => w.client.messages.stream(ask(`Call ${i}`), { headers: { 'x-swarm-role': `role${i % faults.length}` } }).finalMessage()))
    await expect.poll(async () => (await rows(w.db)).filter((row) => row.state === 'open').length).toBe(0)
    const recorded = new Map((await rows(w.db)).map((row) => [row.id, row]))
    const answered = w.rehearsal.calls().filter((call) => call.status === 200)
    expect(new Set(answered.map((call) => call.callId)).size).toBe(answered.length)
    for (const call of w.rehearsal.calls()) {
      const row = recorded.get(call.callId) ?? expect.fail(`no row for ${call.callId}`)
      const { microUsd, tokens } = served(call)
      expect([row.cost_micro_usd ?? -1, row.tokens ?? -1].map((amount, i) => amount >= [microUsd, tokens][i]!)).toEqual([true, true])
      if (call.complete && row.estimated === 0) expect([row.cost_micro_usd, row.tokens]).toEqual([microUsd, tokens])
    }
    // The same from the events alone.
    const replayed = new Map<unknown, unknown>()
    for (const { data } of await w.events('model:reserved', 'model:call', 'budget:breach')) replayed.set(data['callId'], [data['state'], data['costMicroUsd'] ?? null, data['tokens'] ?? null])
    expect(replayed).toEqual(new Map([...recorded.values()].map((row) => [row.id, [row.state, row.cost_micro_usd, row.tokens]])))
  }, 60_000)

  it('holds an attempt to the lowest of what agent, base and project say, asks about exactly that, and gives its successors what was raised', async () => {
    await using place = await make()
    await using w = await world(place, SAY)
    const attempt = { id: 'ATT-1', ticketId: 'TKT-1', projectId: 'PRJ-1', correlationId: 'corr-attempt' }
    await settings(w.db, { attemptMaxCostMicroUsd: 90_000, attemptMaxTokens: 50_000 })
    await w.db.write((trx) => fixAttemptCeilings(trx, attempt, [0.08, 0.02]))
    await w.db.write((trx) => fixAttemptCeilings(trx, attempt, [5, 5]))
    expect(await refused(w.client.messages.create(ask()))).toEqual({ status: 402, type: 'budget_exhausted' })
    expect(w.asked.map((request) => [request.subject, request.payload])).toEqual([[{ kind: 'attempt', id: 'ATT-1' }, { ceiling: 'attempt', id: 'ATT-1', unit: 'micro_usd', cap: 20_000, proposedCap: 40_000, ticketId: 'TKT-1', approve: 'raise and resume', reject: 'keep paused' }]])
    const facts = modelFacts(w.gateway, Date.now)
    expect((await w.db.write((trx) => facts(trx, 'ATT-1', 'budget'))).holdReason).toBe('the money ceiling of attempt ATT-1 is used up: decide on APR-1 (approve: raise and resume; reject: keep paused)')
    const resumed: unknown[] = []
    const decided = breachDecided({ ...nothingStopped, resumeTickets: async (_trx, about) => { resumed.push(about.attemptIds) } })
    const approval = { id: 'APR-1', kind: 'budget_breach', subjectKind: 'attempt', subjectId: 'ATT-1', projectId: 'PRJ-1', payload: w.asked[0]?.payload, payloadHash: '', decidedBy: 'admin', correlationId: 'corr-1' }
    await w.db.write((trx) => decided.approved(trx, approval))
    expect(resumed).toEqual([['ATT-1']])
    await expect(w.db.write((trx) => decided.approved(trx, approval))).rejects.toMatchObject({ code: 'illegal_transition' })
    await w.db.write(async (trx) => {
      const row = await trx.selectFrom('attempts').selectAll().executeTakeFirstOrThrow()
      await trx.insertInto('attempts').values({ ...row, id: 'ATT-2', number: 3 }).execute()
      await fixAttemptCeilings(trx, { ...attempt, id: 'ATT-2' }, [0.08, 0.02])
    })
    expect(await w.db.read.selectFrom('budget_ceilings').select(['kind', 'id', 'unit', 'cap']).where('unit', '=', 'micro_usd').orderBy('kind').orderBy('id').execute()).toEqual([
      { kind: 'attempt', id: 'ATT-1', unit: 'micro_usd', cap: 40_000 }, { kind: 'attempt', id: 'ATT-2', unit: 'micro_usd', cap: 40_000 }, { kind: 'ticket_attempts', id: 'TKT-1', unit: 'micro_usd', cap: 40_000 },
    ])
  })

  it('tells people once when 80, 90 and 100 percent of a ceiling are used, and again under another ceiling', async () => {
    await using place = await make()
    await using w = await world(place, SAY)
    const told = async () => (await w.events('budget:threshold')).map(({ subjectId, data }) => [subjectId, data['cap'], data['percent']])
    const ledger = createLedger({ db: w.db, provider: 'rehearsal' })
    const use = async (inputTokens: number): Promise<void> => {
      const call = await ledger.reserve({ kind: 'attempt', attemptId: 'ATT-1', fence: 3, role: 'developer' }, MODEL, { requestBytes: 0, maxTokens: 100, cacheWrites: 'none' }, PRICE)
      if (call === 'wait') expect.fail('it waits')
      await ledger.settle(call, MODEL, PRICE, { status: 200, usage: { ...NOTHING_SERVED, inputTokens }, tries: 1, requestDigest: null, responseDigest: null })
    }
    // Each reserves 1,100 tokens.
    await settings(w.db, { maxTokens: 2_000 })
    await use(850)
    expect(await told()).toEqual([])
    await use(750)
    expect(await told()).toEqual([['PRJ-1', 2_000, 80]])
    await expect(use(100)).rejects.toMatchObject({ code: 'budget_exhausted' })
    await expect(use(100)).rejects.toMatchObject({ code: 'budget_exhausted' })
    expect(await told()).toEqual([['PRJ-1', 2_000, 80], ['PRJ-1', 2_000, 100]])
    await settings(w.db, { maxTokens: 2_750 })
    await use(900)
    expect(await told()).toEqual([['PRJ-1', 2_000, 80], ['PRJ-1', 2_000, 100], ['PRJ-1', 2_750, 80], ['PRJ-1', 2_750, 90]])
  })

  it('tells it once when many calls that end at the same moment cross it together', async () => {
    await using place = await make()
    await using w = await world(place, SAY)
    await settings(w.db, { maxTokens: 11_000 })
    const ledger = createLedger({ db: w.db, provider: 'rehearsal' })
    const caller = { kind: 'attempt' as const, attemptId: 'ATT-1', fence: 3, role: 'developer' }
    const calls = await Promise.all(Array.from({ length: 10 }, () => ledger.reserve(caller, MODEL, { requestBytes: 0, maxTokens: 100, cacheWrites: 'none' }, PRICE)))
    await Promise.all(calls.map((call) => call === 'wait' ? expect.fail('it waits') : ledger.settle(call, MODEL, PRICE, { status: 200, usage: { ...NOTHING_SERVED, inputTokens: 900 }, tries: 1, requestDigest: null, responseDigest: null })))
    expect((await w.events('budget:threshold')).map(({ data }) => data['percent'])).toEqual([80])
  })

  it('records on the old attempt what it was served after its fence moved, and refuses its next call', async () => {
    await using place = await make()
    await using w = await world(place, '  - turns: [{ say: late, silence: { ms: 300, afterEvents: 3 } }]\n')
    const stream = w.client.messages.stream(ask())
    await new Promise<void>((resolve) => stream.on('streamEvent', (event) => { if (event.type === 'content_block_start') resolve() }))
    await w.db.write(async (trx) => { await trx.updateTable('tickets').set({ fence: 4 }).execute() })
    await stream.finalMessage()
    const [row] = await rows(w.db)
    expect(row).toMatchObject({ attempt_id: 'ATT-1', state: 'settled', estimated: 0, cost_micro_usd: served(w.rehearsal.calls()[0]!).microUsd })
    expect(await refused(w.client.messages.create(ask()))).toEqual({ status: 409, type: 'attempt_over' })
    expect(await rows(w.db)).toHaveLength(1)
  })

  it('does not count a call twice whose process was taken for dead and settles late', async () => {
    await using place = await make()
    await using w = await world(place, SAY)
    const stopped = createLedger({ db: w.db, provider: 'rehearsal' })
    const call = await stopped.reserve({ kind: 'attempt', attemptId: 'ATT-1', fence: 3, role: 'developer' }, MODEL, { requestBytes: 100, maxTokens: 1_000, cacheWrites: 'none' }, PRICE)
    if (call === 'wait') expect.fail('it waits')
    await w.db.write(async (trx) => { await trx.updateTable('model_calls').set({ owner: `${(await trx.selectFrom('model_calls').select('owner').executeTakeFirstOrThrow()).owner.split('/')[0]}/${process.pid}/another` }).execute() })
    expect(await w.gateway.settleDead()).toBe(1)
    await stopped.settle(call, MODEL, PRICE, { status: 200, usage: { ...NOTHING_SERVED, inputTokens: 5 }, tries: 1, requestDigest: null, responseDigest: null })
    expect(await rows(w.db)).toMatchObject([{ state: 'settled', estimated: 1, cost_micro_usd: call.reserved.microUsd, tokens: call.reserved.tokens }])
    expect(await w.events('model:call')).toHaveLength(1)
  })

  it('leaves a model that is overloaded alone, says so, and lets calls of other models through', async () => {
    await using place = await make()
    await using w = await world(place, '  - { role: busy, turns: [{ say: x, fail: { status: 529, retryAfter: 60, times: 99 } }] }\n  - turns: [{ say: hello }]\n', { gateway: { patienceMs: 300 } })
    expect(await refused(w.client.messages.create(ask(), { headers: { 'x-swarm-role': 'busy' } }))).toEqual({ status: 529, type: 'overloaded_error' })
    expect(await refused(w.client.messages.create(ask()))).toEqual({ status: 529, type: 'model_overloaded' })
    expect((await w.client.messages.create({ ...ask(), model: 'claude-haiku-4-5' })).stop_reason).toBe('end_turn')
    expect(w.gateway.circuits()).toMatchObject([{ model: MODEL, circuit: { state: 'open' } }, { model: 'claude-haiku-4-5', circuit: { state: 'closed' } }])
    await w.gateway[Symbol.asyncDispose]()
    expect(await w.events('model:circuit')).toMatchObject([{ subjectId: MODEL, data: { from: 'closed', to: 'open', provider: 'rehearsal' } }])
    expect(await w.metrics()).toContain(`swarm_model_circuit{provider="rehearsal",model="${MODEL}"} 2`)
    // The newest call of the attempt was answered: its failure would be its own. Without that one it is the overload's.
    const facts = modelFacts(w.gateway, Date.now)
    expect(await w.db.write((trx) => facts(trx, 'ATT-1', 'model'))).toEqual({})
    await w.db.write(async (trx) => { await trx.deleteFrom('model_calls').where('model', '=', 'claude-haiku-4-5').execute() })
    expect((await w.db.write((trx) => facts(trx, 'ATT-1', 'model'))).overload?.untilAskedMs).toBeGreaterThan(50_000)
  })

  it('prices each call by the row of its day', async () => {
    await using place = await make()
    const row = (from: string, output: number) => ({ ...PRICE, from, output })
    await using w = await world(place, SAY, { gateway: { prices: { [MODEL]: [row('2020-01-01', 1_000_000_000), row(new Date().toISOString().slice(0, 10), 2_000_000_000), row('2999-01-01', 3_000_000_000)] } } })
    const { usage } = await w.client.messages.create(ask())
    expect((await rows(w.db))[0]?.cost_micro_usd).toBe(Math.ceil((usage.input_tokens * PRICE.input + usage.output_tokens * 2_000_000_000) / 1e6))
  })
})
