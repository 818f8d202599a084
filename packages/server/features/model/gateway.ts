import { setTimeout as after } from 'node:timers/promises'
import { MODEL_PRICES, priceOf, type ModelPrice, type PriceTable } from '@swarm/core/budgets/prices.ts'
import { totalInput, type CallUsage } from '@swarm/core/budgets/reserve.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Circuit } from '@swarm/core/model/circuit.ts'
import type { Database } from '../../db/database.ts'
import { appendEvents } from '../../events/events.ts'
import type { Logger } from '../../logger.ts'
import { createCircuits, type CircuitView } from './circuits.ts'
import { createLedger, NOTHING_SERVED, SETTLED_TOPIC, type Caller, type OnBreach, type OpenCall, type Outcome } from './ledger.ts'
import type { ModelMetrics } from './model-metrics.ts'
import type { ModelProvider } from './providers.ts'
import { createConversations, prepareRequest, type PreparedRequest } from './request.ts'
import { createMessageFollower, createSseReader, ModelMessage, usageOf } from './sse.ts'
import { openUpstream, RETRIED, type Opened } from './upstream.ts'

export interface GatewayOptions {
  readonly db: Database
  readonly provider: ModelProvider
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
  readonly metrics: ModelMetrics
  /** Keeps request and response bodies; returns the digest. */
  readonly keepBlob: (bytes: Uint8Array) => Promise<string>
  /** The price table; the built-in one unless given. */
  readonly prices?: PriceTable
  readonly onBreach?: OnBreach
  /** Longest silence of a streamed answer, ms; 60,000 unless given. */
  readonly silenceMs?: number
  /** Longest wait for an answer that is not streamed, ms; 600,000 unless given. */
  readonly wholeAnswerMs?: number
  /** How often one call is tried; 6 unless given. */
  readonly tries?: number
  /** First pause between tries, doubled each time, with jitter, ms; 500 unless given. Retry-After wins where it is longer. */
  readonly backoffMs?: number
  /**
   * Longest time before the first byte goes to the caller: budget, breaker and retries together, ms; 240,000 unless given
   * (HTTP clients give up on headers after 300 s).
   */
  readonly patienceMs?: number
}

/** Where an answer goes. `start` is called once, before the first `write`. */
export interface AnswerSink {
  start(status: number, headers: Readonly<Record<string, string>>): void
  /** Resolves when more may be sent. */
  write(chunk: Uint8Array): Promise<void>
}

export interface CallResult { readonly callId: string; readonly status: number; readonly costMicroUsd: number; readonly estimated: boolean }

/** An answer did not reach its end. `passedOn`: the caller has its beginning, so the call is not repeated. */
export class CutAnswerError extends Error {
  readonly passedOn: boolean

  constructor(problem: string, passedOn: boolean) {
    super(`The model's answer was cut: ${problem}`)
    this.name = 'CutAnswerError'
    this.passedOn = passedOn
  }
}

const LONGEST_BACKOFF_MS = 30_000
/** A longer Retry-After is taken for a mistake. */
const LONGEST_RETRY_AFTER_MS = 15 * 60_000
/** Longest time that a call may hold its reservation; a row that is older belongs to a process that is gone. */
export const LONGEST_CALL_MS = 30 * 60_000

/** Disposing of it ends the calls that run, and waits until they are settled. */
export interface ModelGateway extends AsyncDisposable {
  /** Makes one call and passes its answer on as it comes. Throws DomainErrors before `start`, CutAnswerError after it. */
  call(body: unknown, caller: Caller, sink: AnswerSink, signal: AbortSignal): Promise<CallResult>
  /** The same, for steps in the server: streams inside, returns the whole message. Throws model_unavailable when there is none. */
  callModel(body: Readonly<Record<string, unknown>>, caller: Caller, signal: AbortSignal): Promise<CallResult & { message: ModelMessage }>
  /** Settles what a process that is gone left open; run at start and now and then. Returns how many. */
  settleDead(): Promise<number>
  /** How the provider does, by model, as far as this process has asked it. */
  circuits(): CircuitView[]
  /** When the provider may be asked again for this model, ms since the epoch; 0 = now. */
  nextTryAt(model: string): number
}

export function createModelGateway(options: GatewayOptions): ModelGateway {
  const { db, provider } = options
  const stopping = new AbortController()
  const running = new Set<Promise<unknown>>()
  const ledger = createLedger({ db, provider: provider.label, ...(options.onBreach ? { onBreach: options.onBreach } : {}) })
  const conversations = createConversations()
  const circuits = createCircuits((model, from, to) => {
    options.metrics.circuit({ provider: provider.label, model, state: to.state })
    options.log.warn({ provider: provider.label, model, from: from.state, to: to.state, openUntil: to.openUntil }, 'circuit of the model provider')
    const moved = recordMove(model, from.state, to)
    running.add(moved)
    void moved.finally(() => running.delete(moved))
  })
  const maxTries = options.tries ?? 6

  async function recordMove(model: string, from: string, to: Circuit): Promise<void> {
    try {
      await db.write((trx) => appendEvents(trx, [{ type: 'model:circuit', projectId: null, subject: { kind: 'model', id: model }, data: { provider: provider.label, model, from, to: to.state, failures: to.failures, openUntil: to.openUntil } }]))
    } catch (err) {
      options.log.error({ err }, 'the move of a circuit could not be recorded')
    }
  }

  /** The error of a call that met no answer: an overload where the provider is being left alone, which burns no attempt. */
  function unanswered(model: string, problem: string, tries: number, cause?: unknown): DomainError {
    return circuits.closed(model)
      ? new DomainError('model_unavailable', { provider: provider.label, problem, tries }, { cause })
      : new DomainError('model_overloaded', { provider: provider.label, model, problem }, { cause })
  }

  /** The digest under which a body was kept; null when it could not be (the disk is full): the call must be settled all the same. */
  async function keep(bytes: Uint8Array): Promise<string | null> {
    try {
      return await options.keepBlob(bytes)
    } catch (err) {
      options.log.error({ err }, 'the exchange of a model call could not be kept')
      return null
    }
  }

  /** Reserves, waiting while other calls hold the ceiling. */
  async function reserve(caller: Caller, prepared: PreparedRequest, price: ModelPrice, patience: Patience): Promise<OpenCall> {
    using freed = db.wake.latch(SETTLED_TOPIC)
    const startedAt = Date.now()
    const previous = conversations.previous(conversationOf(caller), prepared.request)
    const shape = { requestBytes: prepared.requestBytes, maxTokens: prepared.request.max_tokens, cacheWrites: prepared.cacheWrites, ...(previous ? { previous } : {}) }
    for (;;) {
      const call = await ledger.reserve(caller, prepared.request.model, shape, price)
      if (call !== 'wait') return call
      if (await freed.wait({ signal: patience.signal, timeoutMs: 30_000 }) === 'aborted') throw new DomainError('model_budget_busy', { waitedMs: Date.now() - startedAt })
    }
  }

  async function call(body: unknown, caller: Caller, sink: AnswerSink, signal: AbortSignal): Promise<CallResult> {
    provider.credentials() // throws model_not_configured where there is none, before money is set aside
    const promise = callOnce(body, caller, sink, AbortSignal.any([signal, stopping.signal]))
    running.add(promise)
    try {
      return await promise
    } finally {
      running.delete(promise)
    }
  }

  async function callOnce(body: unknown, caller: Caller, sink: AnswerSink, signal: AbortSignal): Promise<CallResult> {
    const prepared = prepareRequest(body)
    const { request } = prepared
    const patienceMs = options.patienceMs ?? 240_000
    const patience: Patience = { signal: AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]), until: Date.now() + patienceMs }
    const whole = AbortSignal.any([signal, AbortSignal.timeout(LONGEST_CALL_MS - 60_000)])

    for (let tries = 1; ; tries++) {
      // Of this try: a price that changes meanwhile holds from the next one on.
      const price = priceOf(request.model, Date.now(), options.prices)
      if (!price) throw new DomainError('model_unpriced', { model: request.model, known: Object.keys(options.prices ?? MODEL_PRICES).join(', ') })
      const open = await reserve(caller, prepared, price, patience)
      const sent = JSON.stringify({ ...request, max_tokens: open.maxTokens })
      const settle = async (outcome: Partial<Outcome>): Promise<CallResult> => {
        const requestDigest = await keep(Buffer.from(sent))
        const recorded = await ledger.settle(open, request.model, price, { status: null, usage: null, tries, requestDigest, responseDigest: null, ...outcome })
        options.metrics.call({ provider: provider.label, model: request.model, status: outcome.status ?? 0, costMicroUsd: recorded.costMicroUsd, usage: outcome.usage ?? null })
        return { callId: open.id, status: outcome.status ?? 0, ...recorded }
      }
      let opened: Opened
      let tried = 0
      try {
        ({ opened, tried } = await tryUntilServed(open, request.model, sent, request.stream === true, tries, whole, patience))
      } catch (error) {
        // Given up before anything was sent, or while nobody knows what the model did with it.
        const overloaded = error instanceof NotSent && error.cause instanceof DomainError && error.cause.code === 'model_overloaded'
        await settle({ usage: error instanceof NotSent ? NOTHING_SERVED : null, ...(overloaded ? { status: 529 } : {}) })
        throw error instanceof NotSent ? error.cause : error
      }
      tries += tried
      if (opened.kind === 'refused') {
        const result = await settle({ status: opened.status, usage: NOTHING_SERVED, responseDigest: await keep(opened.body) })
        sink.start(opened.status, answerHeaders(open.id, opened.headers))
        await sink.write(opened.body)
        return result
      }
      if (opened.kind === 'failed') {
        // What was perhaps served is recorded by itself; the next try needs money of its own.
        await settle({ usage: opened.served === 'no' ? NOTHING_SERVED : null, ...(circuits.closed(request.model) ? {} : { status: 529 }) })
        options.log.warn({ callId: open.id, provider: provider.label, problem: opened.problem, tries }, 'model call failed before its answer began')
        if (tries >= maxTries || !await pause(tries, null, patience)) throw unanswered(request.model, opened.problem, tries)
        continue
      }
      try {
        return await passOn(open, prepared, opened, caller, sink, settle, whole)
      } catch (error) {
        if (!(error instanceof CutAnswerError) || error.passedOn || whole.aborted) throw error
        if (tries >= maxTries || !await pause(tries, null, patience)) throw unanswered(request.model, error.message, tries, error)
      }
    }
  }

  /** Repeats a call that the provider refused for the moment. Its reservation stays: a refusal costs nothing. */
  async function tryUntilServed(open: OpenCall, model: string, body: string, streamed: boolean, triesBefore: number, whole: AbortSignal, patience: Patience): Promise<{ opened: Opened; tried: number }> {
    for (let tried = 0; ; tried++) {
      try {
        await circuits.pass(model, patience.signal)
      } catch (error) {
        throw new NotSent(whole.aborted ? error : new DomainError('model_overloaded', { provider: provider.label, model, problem: 'it was not to be asked for as long as a call may wait' }))
      }
      let opened: Opened
      try {
        opened = asRefusal(await openUpstream(provider, {
          body, signal: whole, headers: requestHeaders(provider, open),
          silenceMs: streamed ? options.silenceMs ?? 60_000 : options.wholeAnswerMs ?? 600_000,
        }))
      } catch (error) {
        circuits.released(model)
        throw error
      }
      const transient = opened.kind === 'failed' || (opened.kind === 'refused' && RETRIED.has(opened.status))
      const retryAfterMs = opened.kind === 'refused' ? retryAfter(opened.headers) : null
      if (transient) circuits.failed(model, retryAfterMs)
      else circuits.answered(model)
      if (!transient || opened.kind === 'failed' || triesBefore + tried >= maxTries) return { opened, tried }
      options.log.warn({ callId: open.id, provider: provider.label, status: opened.kind === 'refused' ? opened.status : 0, retryAfterMs, tries: triesBefore + tried }, 'model provider refused for now')
      // When the wait would be longer than the caller's patience, the refusal itself is the answer.
      if (!await pause(triesBefore + tried, retryAfterMs, patience)) return { opened, tried }
    }
  }

  /** Waits before the next try; false at once when the time does not suffice. */
  async function pause(tries: number, retryAfterMs: number | null, patience: Patience): Promise<boolean> {
    const backoff = Math.min(LONGEST_BACKOFF_MS, (options.backoffMs ?? 500) * 2 ** (tries - 1)) * (0.75 + Math.random() / 2)
    const waitMs = Math.max(backoff, retryAfterMs ?? 0)
    if (Date.now() + waitMs > patience.until) return false
    try {
      await after(waitMs, undefined, { signal: patience.signal })
      return true
    } catch (error) {
      if (patience.signal.aborted) return false
      throw error
    }
  }

  async function passOn(
    open: OpenCall, { request, cacheWrites }: PreparedRequest, answer: Extract<Opened, { kind: 'answer' }>, caller: Caller, sink: AnswerSink,
    settle: (outcome: Partial<Outcome>) => Promise<CallResult>, whole: AbortSignal,
  ): Promise<CallResult> {
    const streamed = (answer.headers.get('content-type') ?? '').includes('text/event-stream')
    const read = createSseReader()
    const follower = createMessageFollower()
    const chunks: Uint8Array[] = []
    const take = async (chunk: Uint8Array): Promise<void> => {
      chunks.push(chunk)
      if (!streamed) return
      for (const event of read(chunk)) follower.see(event)
      await sink.write(chunk)
    }
    let problem: string | null = null
    let usage: CallUsage | null = null
    try {
      if (streamed) sink.start(answer.status, answerHeaders(open.id, answer.headers))
      await take(answer.first)
      for await (const chunk of answer.rest) await take(chunk)
      if (streamed) usage = follower.complete() ? usageOf(follower.usage(), cacheWrites) : null
      else usage = usageOf(ModelMessage.parse(JSON.parse(Buffer.concat(chunks).toString('utf8'))).usage, cacheWrites)
      if (usage === null) problem = 'it ended before its final usage'
    } catch (error) {
      problem = whole.aborted ? 'the caller went away, or it took too long' : error instanceof Error ? error.message : String(error)
    }
    const responseDigest = await keep(Buffer.concat(chunks))
    const result = await settle({ status: answer.status, usage, responseDigest })
    if (usage) conversations.remember(conversationOf(caller), request, totalInput(usage))
    options.log.info({ callId: open.id, provider: provider.label, model: request.model, role: open.subject.role, ticketId: open.subject.ticketId, costMicroUsd: result.costMicroUsd, estimated: result.estimated, cut: problem }, 'model call')
    if (problem !== null) throw new CutAnswerError(problem, streamed)
    if (!streamed) {
      sink.start(answer.status, answerHeaders(open.id, answer.headers))
      await sink.write(Buffer.concat(chunks))
    }
    return result
  }

  async function callModel(body: Readonly<Record<string, unknown>>, caller: Caller, signal: AbortSignal): Promise<CallResult & { message: ModelMessage }> {
    for (let tries = 1; ; tries++) {
      const read = createSseReader()
      const follower = createMessageFollower()
      let status = 0
      let refusal = ''
      try {
        const result = await call({ ...body, stream: true }, caller, {
          start: (code) => { status = code },
          write: async (chunk) => {
            if (status !== 200) refusal += Buffer.from(chunk).toString('utf8')
            else for (const event of read(chunk)) follower.see(event)
          },
        }, signal)
        if (status !== 200) throw new DomainError('model_refused', { provider: provider.label, status, problem: refusal.slice(0, 2_000) })
        return { ...result, message: follower.message() }
      } catch (error) {
        // Nobody outside has seen the beginning of this answer, so here a cut one may be asked for again.
        if (!(error instanceof CutAnswerError) || signal.aborted || stopping.signal.aborted) throw error
        if (tries >= maxTries) throw new DomainError('model_unavailable', { provider: provider.label, problem: error.message, tries }, { cause: error })
        await pause(tries, null, { signal, until: Number.POSITIVE_INFINITY })
      }
    }
  }

  return {
    call, callModel,
    settleDead: () => ledger.settleDead(LONGEST_CALL_MS),
    circuits: circuits.view, nextTryAt: circuits.nextTryAt,
    [Symbol.asyncDispose]: async () => {
      stopping.abort(new Error('the server is stopping'))
      await Promise.allSettled(running)
    },
  }
}

/** How long a call may stay without a first byte for its caller. */
interface Patience { readonly signal: AbortSignal; readonly until: number }

/** The call was given up before it was sent: nothing can have been served. */
class NotSent extends Error {
  constructor(cause: unknown) {
    super('not sent', { cause })
    this.name = 'NotSent'
  }
}

function conversationOf(caller: Caller): string {
  return caller.kind === 'attempt' ? caller.attemptId : `${caller.sessionId ?? caller.projectId}/${caller.ticketId ?? ''}/${caller.role}/${caller.step ?? ''}`
}

/** A stream whose first event is an error was refused like any other, only later. */
function asRefusal(opened: Opened): Opened {
  if (opened.kind !== 'answer') return opened
  const start = Buffer.from(opened.first).toString('utf8')
  if (!start.startsWith('event: error')) return opened
  const status = start.includes('overloaded_error') ? 529 : start.includes('rate_limit_error') ? 429 : 500
  const data = /^data: ?(.*)$/m.exec(start)?.[1] ?? '{}'
  return { kind: 'refused', status, headers: new Headers({ 'content-type': 'application/json' }), body: Buffer.from(data) }
}

function retryAfter(headers: Headers): number | null {
  const value = headers.get('retry-after')
  if (value === null) return null
  const ms = /^[\d.]+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now()
  return Number.isFinite(ms) ? Math.min(LONGEST_RETRY_AFTER_MS, Math.max(0, ms)) : null
}

function requestHeaders(provider: ModelProvider, open: OpenCall): Record<string, string> {
  const { subject } = open
  const headers: Record<string, string> = { 'anthropic-version': '2023-06-01' }
  if (!provider.tellsWhoAsks) return headers
  const who = {
    'x-swarm-call-id': open.id, 'x-swarm-role': subject.role, 'x-swarm-step': subject.step ?? '', 'x-swarm-ticket-key': subject.ticketKey,
    'x-swarm-ticket-id': subject.ticketId ?? '', 'x-swarm-ticket-title': subject.ticketTitle, 'x-swarm-attempt': String(subject.attemptNumber),
  }
  for (const [name, value] of Object.entries(who)) if (value !== '') headers[name] = encodeURIComponent(value)
  return headers
}

/** What the caller sees of the provider's headers, and that it must not retry: the gateway did. */
function answerHeaders(callId: string, upstream: Headers): Record<string, string> {
  const headers: Record<string, string> = { 'x-should-retry': 'false', 'x-swarm-call-id': callId }
  for (const name of ['content-type', 'request-id', 'retry-after', 'x-swarm-rehearsal']) {
    const value = upstream.get(name)
    if (value !== null) headers[name] = value
  }
  return headers
}
