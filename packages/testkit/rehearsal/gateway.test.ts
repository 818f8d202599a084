import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import Anthropic, { APIError } from '@anthropic-ai/sdk'
import { resolveSettings } from '@swarm/contract/config.ts'
import { costOf } from '@swarm/core/budgets/reserve.ts'
import { priceOf } from '@swarm/core/budgets/prices.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Database } from '@swarm/server/db/database.ts'
import { eachDialect } from '@swarm/server/db/testing.ts'
import { breachDecided } from '@swarm/server/features/model/breach.ts'
import { anthropicProvider, providerOf } from '@swarm/server/features/model/providers.ts'
import { mintToken } from '@swarm/server/http/tokens.ts'
import { afterEach, expect, it } from 'vitest'
import { MODEL, world } from './gateway-world.ts'
import type { Rehearsal } from './server.ts'

const ask = (text = 'Begin.', extra: Partial<Anthropic.MessageCreateParamsNonStreaming> = {}): Anthropic.MessageCreateParamsNonStreaming => ({ model: MODEL, max_tokens: 2_000, messages: [{ role: 'user', content: text }], ...extra })
const rows = (db: Database) => db.read.selectFrom('model_calls').selectAll().orderBy('created_at').orderBy('id').execute()
async function refused(call: Promise<unknown>): Promise<{ status: number | undefined; type: string | null }> {
  try {
    await call
  } catch (error) {
    if (error instanceof APIError) return { status: error.status as number | undefined, type: error.type }
    throw error
  }
  return expect.fail('the call was answered')
}
/** What the rehearsal says that it served, priced as the gateway prices it. */
function servedCost(rehearsal: Rehearsal): number {
  const price = priceOf(MODEL, Date.now()) ?? expect.fail('no price')
  return rehearsal.calls().filter((call) => call.status === 200).reduce((sum, { usage }) => sum + costOf({ inputTokens: usage.input_tokens, outputTokens: usage.output_tokens, cacheReadTokens: usage.cache_read_input_tokens, cacheWrite5mTokens: usage.cache_creation_input_tokens, cacheWrite1hTokens: 0 }, price), 0)
}
const recordedCost = async (db: Database): Promise<number> => (await rows(db)).reduce((sum, row) => sum + (row.cost_micro_usd ?? 0), 0)

const SAY = '  - { role: developer, ticket: scoring, title: "^Score – rounds$", attempt: 2, turns: [{ say: "hello {{ticket.id}}" }] }\n'
const withFault = (fault: string): string => `  - turns:\n      - say: ${'a long answer '.repeat(200)}\n        ${fault}\n`
const serverCaller = (extra: object = {}) => ({ kind: 'server' as const, projectId: 'PRJ-1', sessionId: 'SES-1', role: 'designer', step: 'skeleton', correlationId: 'corr-design', ...extra })

const children: ReturnType<typeof spawn>[] = []
afterEach(() => { for (const child of children.splice(0)) child.kill('SIGKILL') })

eachDialect((_dialect, make) => {
  it('streams an answer through, tells the rehearsal who asks, and records exactly what was served', async () => {
    await using place = await make()
    await using w = await world(place, SAY)
    const message = await w.client.messages.stream(ask()).finalMessage()
    expect(message).toMatchObject({ model: `rehearsal-${MODEL}`, content: [{ text: 'hello TKT-1' }] })
    const [row] = await rows(w.db)
    expect(row).toMatchObject({ project_id: 'PRJ-1', session_id: 'SES-1', ticket_id: 'TKT-1', attempt_id: 'ATT-1', state: 'settled', estimated: 0, provider: 'rehearsal', status: 200, tries: 1, input_tokens: message.usage.input_tokens, output_tokens: message.usage.output_tokens, correlation_id: 'corr-attempt' })
    expect(row?.cost_micro_usd).toBe(servedCost(w.rehearsal))
    expect(w.rehearsal.calls()[0]?.callId).toBe(row?.id)
    expect(JSON.parse(Buffer.from(w.blobs.get(row?.request_digest ?? '') ?? []).toString())).toMatchObject({ model: MODEL })
    expect(Buffer.from(w.blobs.get(row?.response_digest ?? '') ?? []).toString()).toContain('event: message_stop')
    expect(await w.events('model:call')).toMatchObject([{ correlationId: 'corr-attempt', data: { costMicroUsd: row?.cost_micro_usd, ticketId: 'TKT-1', sessionId: 'SES-1', estimated: false } }])
    expect(await w.metrics()).toContain(`swarm_model_cost_micro_usd_total{provider="rehearsal",model="${MODEL}"} ${row?.cost_micro_usd}`)
    expect(w.log()).toContain('model call')
    expect(w.log()).not.toContain(w.token)
  })

  it('passes the first bytes on before the answer is complete', async () => {
    await using place = await make()
    await using w = await world(place, '  - turns: [{ say: slow, silence: { ms: 60000, afterEvents: 3 } }]\n')
    const stream = w.client.messages.stream(ask())
    await new Promise<void>((resolve) => stream.on('streamEvent', (event) => { if (event.type === 'content_block_start') resolve() }))
    expect(await rows(w.db)).toMatchObject([{ state: 'open' }])
    stream.abort()
    await expect(stream.finalMessage()).rejects.toThrow()
  })

  it('answers a request that is not streamed, and says that it must not be retried', async () => {
    await using place = await make()
    await using w = await world(place, SAY)
    const { data, response } = await w.client.messages.create(ask()).withResponse()
    expect(data.content).toMatchObject([{ text: 'hello TKT-1' }])
    expect(Object.fromEntries(response.headers)).toMatchObject({ 'x-should-retry': 'false', 'x-swarm-rehearsal': 'true', 'x-swarm-call-id': expect.stringMatching(/^CAL-/) })
  })

  it.each([[429, 1], [529, 3], [500, 2], [503, 1]])('tries again after %i, so that the caller never sees it', async (status, times) => {
    await using place = await make()
    await using w = await world(place, withFault(`fail: { status: ${status}, retryAfter: 0.05, times: ${times} }`))
    await w.client.messages.stream(ask()).finalMessage()
    expect(await rows(w.db)).toMatchObject([{ status: 200, tries: times + 1, estimated: 0 }])
    expect(await recordedCost(w.db)).toBe(servedCost(w.rehearsal))
  })

  it('waits as long as Retry-After says', async () => {
    await using place = await make()
    await using w = await world(place, withFault('fail: { status: 529, retryAfter: 0.6 }'))
    const startedAt = performance.now()
    await w.client.messages.create(ask())
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(595)
  })

  it('passes a refusal on at once when the wait would outlast its patience, and lets the next call wait for the same time', async () => {
    await using place = await make()
    await using w = await world(place, withFault('fail: { status: 429, retryAfter: 30 }'), { gateway: { patienceMs: 2_000 } })
    const startedAt = performance.now()
    expect(await refused(w.client.messages.create(ask()))).toEqual({ status: 429, type: 'rate_limit_error' })
    expect(performance.now() - startedAt).toBeLessThan(1_500)
    expect(await refused(w.client.messages.create(ask()))).toEqual({ status: 529, type: 'model_overloaded' })
    expect(await rows(w.db)).toMatchObject([{ status: 429 }, { status: 529 }])
    expect(await recordedCost(w.db)).toBe(0)
    expect(w.rehearsal.calls()).toHaveLength(1)
  })

  it('passes the refusal on when it stays, at no cost', async () => {
    await using place = await make()
    await using w = await world(place, withFault('fail: { status: 529, times: 99 }'), { gateway: { tries: 3 } })
    expect(await refused(w.client.messages.create(ask()))).toEqual({ status: 529, type: 'overloaded_error' })
    expect(await rows(w.db)).toMatchObject([{ status: 529, tries: 3, cost_micro_usd: 0, state: 'settled' }])
  })

  it('does not repeat what the provider calls a bad request', async () => {
    await using place = await make()
    await using w = await world(place, '  - turns: [{ expect: [nothing says this], say: x }]\n')
    expect(await refused(w.client.messages.create(ask()))).toEqual({ status: 400, type: 'rehearsal_expectation_unmet' })
    expect(w.rehearsal.status().unmet).toHaveLength(1)
    expect(await rows(w.db)).toMatchObject([{ tries: 1, cost_micro_usd: 0 }])
  })

  it('does not repeat a stream that was cut after content, and records the whole reservation as an estimate', async () => {
    await using place = await make()
    await using w = await world(place, withFault('cut: { afterEvents: 5 }'))
    await expect(w.client.messages.stream(ask()).finalMessage()).rejects.toThrow()
    await expect.poll(async () => (await rows(w.db)).map((row) => row.state)).toEqual(['settled'])
    const [row] = await rows(w.db)
    expect(row).toMatchObject({ estimated: 1, tries: 1, status: 200 })
    expect(row?.cost_micro_usd).toBe(row?.reserved_micro_usd)
    expect(await recordedCost(w.db)).toBeGreaterThanOrEqual(servedCost(w.rehearsal))
  })

  it('repeats what was cut before its first byte, paying for both', async () => {
    await using place = await make()
    await using w = await world(place, withFault('cut: { afterEvents: 0 }'))
    await w.client.messages.stream(ask()).finalMessage()
    expect((await rows(w.db)).map((row) => row.estimated)).toEqual([1, 0])
    expect(await recordedCost(w.db)).toBeGreaterThanOrEqual(servedCost(w.rehearsal))
  })

  it('repeats a call whose provider stays silent', async () => {
    await using place = await make()
    await using w = await world(place, withFault('silence: { ms: 60000 }'), { gateway: { silenceMs: 150 } })
    expect((await w.client.messages.stream(ask()).finalMessage()).stop_reason).toBe('end_turn')
    expect((await rows(w.db)).map((row) => row.estimated)).toEqual([1, 0])
    expect(w.log()).toContain('no byte for 150 ms')
  })

  it('passes broken tool input on as it came: the agent must cope with it', async () => {
    await using place = await make()
    await using w = await world(place, '  - turns: [{ tools: [{ name: bash, input: { command: ls } }], malformed: true }]\n')
    let json = ''
    for await (const event of await w.client.messages.create({ ...ask(), stream: true })) if (event.type === 'content_block_delta' && event.delta.type === 'input_json_delta') json += event.delta.partial_json
    expect(json).toBe('{"command"'.slice(0, json.length))
    expect(await rows(w.db)).toMatchObject([{ estimated: 0 }])
  })

  it('refuses models, options and content that it has no price for, and never calls for them', async () => {
    await using place = await make()
    await using w = await world(place, SAY)
    expect(await refused(w.client.messages.create(ask('x', { model: 'unknown-model' })))).toEqual({ status: 400, type: 'model_unpriced' })
    expect(await refused(w.client.messages.create(ask('x', { speed: 'fast' })))).toEqual({ status: 400, type: 'model_option_unpriced' })
    expect(await refused(w.client.messages.create(ask('x', { tools: [{ type: 'web_search_20250305', name: 'web_search' }] })))).toEqual({ status: 400, type: 'model_option_unpriced' })
    expect(await refused(w.client.messages.create(ask('x', { messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'https://example.org/a.png' } }] }] })))).toEqual({ status: 400, type: 'model_option_unpriced' })
    expect(await refused(w.client.messages.create({ ...ask(), messages: [] }))).toEqual({ status: 400, type: 'model_request_invalid' })
    expect(w.rehearsal.calls()).toEqual([])
    expect(await rows(w.db)).toEqual([])
  })

  it('refuses strangers, runners, and attempts that are over or have lost their fence', async () => {
    await using place = await make()
    await using w = await world(place, SAY)
    const as = (authToken: string): Promise<{ status: number | undefined; type: string | null }> => refused(new Anthropic({ baseURL: `${w.url}/model`, apiKey: null, authToken, maxRetries: 0 }).messages.create(ask()))
    expect((await as('none')).status).toBe(401)
    expect((await as((await w.db.write((trx) => mintToken(trx, { kind: 'runner', subjectId: 'RUN-1' }))).token)).status).toBe(403)
    expect(await as((await w.db.write((trx) => mintToken(trx, { kind: 'attempt', subjectId: 'ATT-1', fence: 2 }))).token)).toEqual({ status: 409, type: 'attempt_over' })
    await w.db.write((trx) => trx.updateTable('attempts').set({ state: 'failed' }).where('id', '=', 'ATT-1').execute())
    expect(await as(w.token)).toEqual({ status: 409, type: 'attempt_over' })
    expect(w.rehearsal.calls()).toEqual([])
  })

  it('20 calls at once under one ceiling never overshoot it, and those that fit are all served', async () => {
    await using place = await make()
    // A call reserves about 1,050 tokens × $5 + 2,000 × $25 = 55,000 µ$ and costs far less: only one or two fit at a time.
    const cap = 120_000
    await using w = await world(place, SAY, { cap })
    let highest = 0
    const watching = new AbortController()
    const unsubscribe = w.db.wake.on('events', () => { void w.db.read.selectFrom('model_calls').select((eb) => eb.fn.sum<number>(eb.fn.coalesce('cost_micro_usd', 'reserved_micro_usd')).as('sum')).executeTakeFirst().then((row) => { highest = Math.max(highest, Number(row?.sum ?? 0)) }).catch(() => watching.abort()) })
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => w.client.messages.stream(ask()).finalMessage()))
    unsubscribe()
    expect(results.map((result) => result.status)).toEqual(Array.from({ length: 20 }, () => 'fulfilled'))
    expect(highest).toBeLessThanOrEqual(cap)
    expect(watching.signal.aborted).toBe(false)
    expect(await recordedCost(w.db)).toBe(servedCost(w.rehearsal))
    expect(await recordedCost(w.db)).toBeLessThanOrEqual(cap)
  })

  it('records at least what was served and stays under the ceiling while calls are refused, cut and silent', async () => {
    await using place = await make()
    const cap = 600_000
    const faults = ['fail: { status: 529, times: 3 }', 'cut: { afterEvents: 4, times: 4 }', 'silence: { ms: 60000, times: 2 }', 'cut: { afterEvents: 0, times: 2 }', 'malformed: true']
    const scenes = faults.map((fault, i) => `  - { role: role${i}, turns: [{ say: ${'word '.repeat(100 * (i + 1))}, tools: [{ name: bash, input: { command: ls } }], ${fault} }] }\n`).join('')
    await using w = await world(place, scenes, { cap, gateway: { silenceMs: 200 } })
    const results = await Promise.allSettled(Array.from({ length: 30 }, (_, i) => w.client.messages.stream(ask(`Call ${i}`), { headers: { 'x-swarm-role': `role${i % faults.length}` } }).finalMessage()))
    await expect.poll(async () => (await rows(w.db)).filter((row) => row.state === 'open').length).toBe(0)
    expect(results.some((result) => result.status === 'fulfilled')).toBe(true)
    expect(results.some((result) => result.status === 'rejected')).toBe(true)
    expect(await recordedCost(w.db)).toBeGreaterThanOrEqual(servedCost(w.rehearsal))
    expect(await recordedCost(w.db)).toBeLessThanOrEqual(cap)
    expect((await rows(w.db)).filter((row) => row.estimated === 1).length).toBeGreaterThanOrEqual(6)
  }, 30_000)

  it('asks for a shorter answer when little is left, then stops with 402 and asks a person once', async () => {
    await using place = await make()
    // The input bound is at most 1,200 tokens = 6,000 µ$; the rest allows between 1,024 and 2,000 tokens at 25 µ$ each.
    await using w = await world(place, SAY, { cap: 40_000 })
    await w.client.messages.create(ask())
    const [first] = await rows(w.db)
    const sent = JSON.parse(Buffer.from(w.blobs.get(first?.request_digest ?? '') ?? []).toString()) as { max_tokens: number }
    expect(sent.max_tokens).toBeGreaterThanOrEqual(1_024)
    expect(sent.max_tokens).toBeLessThan(2_000)
    // All that was left, but for the part of a token's price.
    expect(first?.reserved_micro_usd).toBeGreaterThan(39_970)
    expect(first?.reserved_micro_usd).toBeLessThanOrEqual(40_000)
    await w.db.write((trx) => trx.updateTable('design_sessions').set({ max_cost_micro_usd: 20_000 }).execute())
    expect(await refused(w.client.messages.create(ask()))).toEqual({ status: 402, type: 'budget_exhausted' })
    expect(await refused(w.client.messages.create(ask()))).toEqual({ status: 402, type: 'budget_exhausted' })
    expect((await rows(w.db)).map((row) => row.state)).toEqual(['settled', 'refused', 'refused'])
    expect(await w.events('budget:breach')).toHaveLength(2)
    expect(w.asked.map((request) => [request.kind, request.payload])).toEqual([1, 2].map(() => ['budget_breach', { ceiling: 'session', id: 'SES-1', unit: 'micro_usd', cap: 20_000, proposedCap: 40_000, ticketId: null, approve: 'raise and resume', reject: 'keep paused' }]))
    const approval = { id: 'APR-1', kind: 'budget_breach', subjectKind: 'session', subjectId: 'SES-1', projectId: 'PRJ-1', payload: w.asked[0]?.payload, payloadHash: '', decidedBy: 'admin', correlationId: 'corr-1' }
    const resumed: unknown[] = []
    const decided = breachDecided({ resumeTickets: async (_, about) => resumed.push(about), resumeDesign: async (_, about) => resumed.push(about), setProject: async () => expect.fail('not a project') })
    await w.db.write((trx) => decided.approved(trx, approval))
    expect(resumed).toMatchObject([{ attemptIds: ['ATT-1'], failureClass: 'budget' }])
    expect((await w.client.messages.create(ask())).stop_reason).toBe('end_turn')
    await expect(w.db.write((trx) => decided.approved(trx, approval))).rejects.toBeInstanceOf(DomainError)
  })

  it('bounds a conversation that goes on by what was measured, so that its reservations stay small', async () => {
    await using place = await make()
    await using w = await world(place, '  - turns: [{ say: one }, { say: two }]\n')
    const long = 'x'.repeat(40_000)
    await w.client.messages.create(ask(long))
    await w.client.messages.create({ ...ask(), messages: [{ role: 'user', content: long }, { role: 'assistant', content: 'one' }, { role: 'user', content: 'go on' }] })
    const [first, second] = await rows(w.db)
    expect(second?.reserved_micro_usd ?? Infinity).toBeLessThan((first?.reserved_micro_usd ?? 0) - 100_000)
    expect(second?.cost_micro_usd).toBeLessThanOrEqual(second?.reserved_micro_usd ?? 0)
  })

  it('serves steps of the server by the same path, also where the model cannot be forced to a tool', async () => {
    await using place = await make()
    await using w = await world(place, '  - { role: designer, step: skeleton, turns: [{ json: { epics: [{ key: a }] }, cut: { afterEvents: 4 } }] }\n')
    const body = { model: 'claude-opus-5-5', max_tokens: 2_000, messages: [{ role: 'user', content: 'Plan.' }], tools: [{ name: 'submit', input_schema: { type: 'object' } }], tool_choice: { type: 'tool', name: 'submit' } }
    const result = await w.gateway.callModel(body, serverCaller(), new AbortController().signal)
    expect(result.message.content).toMatchObject([{ type: 'tool_use', name: 'submit', input: { epics: [{ key: 'a' }] } }])
    expect(await rows(w.db)).toMatchObject([{ estimated: 1, role: 'designer', step: 'skeleton', session_id: 'SES-1', ticket_id: null }, { estimated: 0 }])
    await expect(w.gateway.callModel(body, serverCaller({ step: 'unknown' }), new AbortController().signal)).rejects.toMatchObject({ code: 'model_refused' })
  })

  it('says that the provider is out of reach, at no cost', async () => {
    await using place = await make()
    const closed = createServer().listen(0, '127.0.0.1')
    await once(closed, 'listening')
    const { port } = closed.address() as AddressInfo
    closed.close()
    await using w = await world(place, SAY, { gateway: { provider: anthropicProvider(() => 'sk-ant-never-shown-0123456789', `http://127.0.0.1:${port}`), tries: 2 } })
    expect(await refused(w.client.messages.create(ask()))).toEqual({ status: 502, type: 'model_unavailable' })
    expect(await recordedCost(w.db)).toBe(0)
    expect(w.log() + JSON.stringify(await w.events())).not.toContain('sk-ant')
  })

  it('says what to set where no model is configured, before any money is set aside', async () => {
    await using place = await make()
    const { config } = resolveSettings({ env: {}, argv: { home: place.home, cache: place.home }, userFolder: place.home })
    await using w = await world(place, SAY, { gateway: { provider: providerOf(config.model) } })
    expect(await refused(w.client.messages.create(ask()))).toMatchObject({ status: 503 })
    await expect(w.gateway.callModel({ ...ask() }, serverCaller(), new AbortController().signal)).rejects.toMatchObject({ code: 'model_not_configured', remedy: expect.stringMatching(/ANTHROPIC_API_KEY.*--rehearsal/) })
    expect(await rows(w.db)).toEqual([])
  })

  it('ends and settles the calls that run when the server stops', async () => {
    await using place = await make()
    await using w = await world(place, '  - turns: [{ say: never, silence: { ms: 600000 } }]\n')
    const waiting = expect(w.gateway.callModel({ ...ask() }, serverCaller(), new AbortController().signal)).rejects.toThrow()
    await expect.poll(async () => (await rows(w.db)).map((row) => row.state)).toEqual(['open'])
    await w.gateway[Symbol.asyncDispose]()
    expect(await rows(w.db)).toMatchObject([{ state: 'settled', estimated: 1 }])
    await waiting
  })

  it('adds the real key and only it, and keeps it out of everything', async () => {
    await using place = await make()
    const seen: Array<NodeJS.Dict<string | string[]>> = []
    const api = createServer((request, response) => { seen.push(request.headers); response.writeHead(401, { 'content-type': 'application/json' }).end('{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}') }).listen(0, '127.0.0.1')
    await once(api, 'listening')
    try {
      await using w = await world(place, SAY, { gateway: { provider: anthropicProvider(() => 'sk-ant-real-key-0123456789', `http://127.0.0.1:${(api.address() as AddressInfo).port}`) } })
      expect(await refused(w.client.messages.create(ask()))).toEqual({ status: 401, type: 'authentication_error' })
      expect(seen).toHaveLength(1)
      expect(seen[0]).toMatchObject({ 'x-api-key': 'sk-ant-real-key-0123456789' })
      expect(JSON.stringify(seen)).not.toContain(w.token)
      expect(Object.keys(seen[0] ?? {}).filter((name) => name.startsWith('x-swarm'))).toEqual([])
      expect(w.log() + JSON.stringify([await rows(w.db), await w.events()]) + [...w.blobs.values()].map(String).join('')).not.toContain('sk-ant')
    } finally {
      api.close()
      api.closeAllConnections()
    }
  })

  it('settles a call whose exchange cannot be kept, since money that stays set aside would stop everybody', async () => {
    await using place = await make()
    await using w = await world(place, SAY, { cap: 100_000_000, gateway: { keepBlob: () => Promise.reject(new Error('no space left on device')) } })
    expect(await w.client.messages.stream(ask()).finalMessage()).toMatchObject({ content: [{ text: 'hello TKT-1' }] })
    expect(await rows(w.db)).toMatchObject([{ state: 'settled', estimated: 0, request_digest: null, response_digest: null }])
    expect(await recordedCost(w.db)).toBe(servedCost(w.rehearsal))
    expect(w.log()).toContain('no space left on device')
  })

  it('settles a call of its own that outlived every limit, as when the database refused its settlement', async () => {
    await using place = await make()
    await using w = await world(place, SAY, { gateway: { keepBlob: async () => 'x' } })
    await w.client.messages.create(ask())
    await w.db.write(async (trx) => { await trx.updateTable('model_calls').set({ state: 'open', cost_micro_usd: null, created_at: Date.now() - 31 * 60_000 }).execute() })
    expect(await w.gateway.settleDead()).toBe(1)
    expect(await rows(w.db)).toMatchObject([{ state: 'settled', estimated: 1 }])
  })

  it('settles what a killed server left open to the whole reservation, once', async () => {
    await using place = await make()
    await using w = await world(place, '  - turns: [{ say: never, silence: { ms: 600000 } }]\n', { cap: 60_000 })
    // A process of its own makes the call and is killed in the middle of it.
    const child = spawn(process.execPath, [fileURLToPath(new URL('./gateway-caller.ts', import.meta.url)), w.rehearsal.url, place.home, place.databaseUrl ?? ''], { stdio: ['ignore', 'ignore', 'inherit'] })
    children.push(child)
    await expect.poll(async () => (await rows(w.db)).map((row) => row.state), { timeout: 15_000 }).toEqual(['open'])
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
    expect(await w.gateway.settleDead()).toBe(1)
    const [row] = await rows(w.db)
    expect(row).toMatchObject({ state: 'settled', estimated: 1, cost_micro_usd: row?.reserved_micro_usd })
    expect(await w.gateway.settleDead()).toBe(0)
    expect(await refused(w.client.messages.create(ask()))).toMatchObject({ status: 402 })
  }, 30_000)
})

