import { once } from 'node:events'
import { appendFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as after } from 'node:timers/promises'
import type { AddressInfo } from 'node:net'
import { modelTraits } from '@swarm/core/budgets/prices.ts'
import { parseJson } from '@swarm/core/json.ts'
import { z } from 'zod'
import { conversationProblem, inputUsage, limitAnswer, MessagesRequest, readAsking, stableId, tokensOf, type Asking, type Usage } from './call.ts'
import { messageBody, messageEvents, type Answer } from './events.ts'
import { createFaultSwitch, SwitchedFault } from './fault-switch.ts'
import { answerBlocks, describeAsking, findTurn, malform, unmetExpectations, type Found } from './play.ts'
import type { Script, Turn } from './script.ts'

/** The API's own limit of a request body. */
const MAX_BODY_BYTES = 32 * 1024 * 1024
/** Of a fault that is switched on. */
const MAX_SWITCH_BYTES = 10_000

/** One line of the log: a call that was answered by a turn or by a scripted fault. Usage is what was served, in tokens. */
export interface ServedCall {
  at: string
  requestId: string
  /** The gateway's id of the call (header x-swarm-call-id), or ''. */
  callId: string
  place: string
  role: string
  ticketKey: string
  attempt: number
  step: string
  model: string
  status: number
  /** False when the answer did not reach its end: cut by the script or by the caller. */
  complete: boolean
  fault: string | null
  usage: Usage
}

export interface RehearsalStatus {
  served: number
  /** Expectations that a request did not meet: the run has failed. */
  unmet: Array<{ place: string; missing: string[] }>
  /** Calls that no scene or turn answered: the run has failed. */
  unmatched: string[]
  /** Turns that nobody has asked for yet, of scenes that are not optional. */
  remaining: string[]
}

export interface Rehearsal extends AsyncDisposable {
  readonly url: string
  status(): RehearsalStatus
  calls(): readonly ServedCall[]
}

export interface RehearsalOptions {
  script: Script
  /** 0 takes a free one. */
  port?: number
  /** JSON lines of ServedCall are appended here. */
  logFile?: string
}

type ErrorType = 'invalid_request_error' | 'authentication_error' | 'permission_error' | 'not_found_error' | 'request_too_large' | 'rate_limit_error' | 'api_error' | 'overloaded_error' | 'rehearsal_expectation_unmet' | 'rehearsal_no_match'

/** Serves a script on 127.0.0.1 until it is disposed of. */
export async function startRehearsal(options: RehearsalOptions): Promise<Rehearsal> {
  const calls: ServedCall[] = []
  const unmet: RehearsalStatus['unmet'] = []
  const unmatched: string[] = []
  const played = new Set<string>()
  const faults = new Map<string, number>()
  const weather = createFaultSwitch()
  const stopping = new AbortController()
  let counter = 0

  const status = (): RehearsalStatus => ({
    served: calls.length, unmet, unmatched,
    remaining: options.script.scenes.flatMap((scene, s) => (scene.optional ? [] : scene.turns.flatMap((_, t) => (played.has(`${s}/${t}`) ? [] : [`scene ${s + 1}, turn ${t + 1}${scene.ticket ? ` (${String(scene.ticket)})` : ''}`])))),
  })

  async function record(call: ServedCall): Promise<void> {
    calls.push(call)
    if (options.logFile) await appendFile(options.logFile, `${JSON.stringify(call)}\n`)
  }

  /** Whether a fault of this place still has to be met; counts it if so. The attempt is no part of the place: a fault that ends one is over in the next. */
  function due(found: Found, asking: Asking, kind: string, times: number): boolean {
    const key = [found.sceneIndex, asking.ticketId || asking.ticketKey, asking.step, asking.turn, kind].join('/')
    const met = faults.get(key) ?? 0
    if (met >= times) return false
    faults.set(key, met + 1)
    return true
  }

  async function messages(incoming: IncomingMessage, response: ServerResponse, requestId: string): Promise<void> {
    const request = await readRequest(incoming, response)
    if (!request) return
    const asking = readAsking(request, incoming.headers)
    const found = findTurn(options.script, asking)
    if ('reason' in found) {
      unmatched.push(found.reason)
      return sendError(response, 400, 'rehearsal_no_match', `rehearsal_no_match: ${found.reason}`)
    }
    const missing = unmetExpectations(found, asking)
    if (missing.length > 0) {
      unmet.push({ place: found.place, missing })
      return sendError(response, 400, 'rehearsal_expectation_unmet', `rehearsal_expectation_unmet: ${found.place} (${describeAsking(asking)}): ${missing.join('; ')}`)
    }
    await play(request, asking, found, response, requestId, String(incoming.headers['x-swarm-call-id'] ?? ''))
  }

  async function play(request: MessagesRequest, asking: Asking, found: Found, response: ServerResponse, requestId: string, callId: string): Promise<void> {
    const { turn, place } = found
    const base = { at: new Date().toISOString(), requestId, callId, place, role: asking.role, ticketKey: asking.ticketKey, attempt: asking.attempt, step: asking.step, model: request.model }
    const nothing: Usage = { input_tokens: 0, output_tokens: 0, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 }
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const over = AbortSignal.any([gone.signal, stopping.signal])
    const switched = weather.take()
    const met = switched?.fault ?? null
    if (switched !== null && met?.kind === 'fail') {
      await record({ ...base, status: met.status, complete: false, fault: `${switched.label}: fail ${met.status}`, usage: nothing })
      if (met.retryAfter !== undefined) response.setHeader('retry-after', String(met.retryAfter))
      return sendError(response, met.status, FAIL_TYPES[met.status], `a fault was switched on (${switched.label})`)
    }
    if (switched !== null && met?.kind === 'garbage') {
      await record({ ...base, status: 200, complete: false, fault: `${switched.label}: garbage`, usage: nothing })
      response.writeHead(200, { 'content-type': 'text/html' })
      response.end('<html><body>upstream sent something else</body></html>')
      return
    }
    if (turn.fail && due(found, asking, 'fail', turn.fail.times)) {
      await record({ ...base, status: turn.fail.status, complete: false, fault: `fail ${turn.fail.status}`, usage: nothing })
      if (turn.fail.retryAfter !== undefined) response.setHeader('retry-after', String(turn.fail.retryAfter))
      return sendError(response, turn.fail.status, FAIL_TYPES[turn.fail.status], `the rehearsal script lets this call fail (${place})`)
    }
    const broken = met?.kind === 'malformed' || (turn.malformed !== undefined && due(found, asking, 'malformed', turn.malformed === true ? 1 : turn.malformed.times))
    const cut = met?.kind === 'cut' ? met : turn.cut && due(found, asking, 'cut', turn.cut.times) ? turn.cut : null
    const silence = met?.kind === 'silence' ? met : turn.silence && due(found, asking, 'silence', turn.silence.times) ? turn.silence : null
    const answer = makeAnswer(request, asking, turn, broken)
    if (!await waited(turn.delay, over)) return
    const end = await send(response, request, answer, { cut, silence }, over)
    if (end.complete) played.add(`${found.sceneIndex}/${asking.turn}`)
    if (end.started) {
      await record({
        ...base, status: 200, complete: end.complete,
        fault: `${switched === null ? '' : `${switched.label}: `}${[broken && 'malformed', cut && 'cut', silence && 'silence'].filter(Boolean).join(', ')}` || null,
        usage: end.complete ? answer.usage : { ...answer.usage, output_tokens: Math.min(answer.usage.output_tokens, tokensOf(end.bytes)) },
      })
    }
    if (end.complete) response.end()
    // What was written arrives, then the connection ends without the last chunk; destroy() would take back what is not sent yet.
    else if (cut && !over.aborted) response.socket?.end()
    else response.destroy()
  }

  /** POST adds one, DELETE takes all away, GET tells which wait; what was met stands in the log. */
  async function switchFaults(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    if (incoming.method === 'DELETE') weather.clear()
    else if (incoming.method === 'POST') {
      let text = ''
      for await (const chunk of incoming.setEncoding('utf8') as AsyncIterable<string>) text = (text + chunk).slice(0, MAX_SWITCH_BYTES)
      const parsed = SwitchedFault.safeParse(parseJson(text))
      if (!parsed.success) return sendError(response, 400, 'invalid_request_error', z.prettifyError(parsed.error))
      weather.add(parsed.data)
    }
    sendJson(response, 200, { pending: weather.pending() })
  }

  const server = createServer((incoming, response) => {
    const requestId = `req_rehearsal${String(++counter).padStart(6, '0')}`
    response.setHeader('request-id', requestId)
    response.setHeader('x-swarm-rehearsal', 'true')
    const path = new URL(incoming.url ?? '/', 'http://rehearsal').pathname
    const handled = incoming.method === 'POST' && path === '/v1/messages' ? messages(incoming, response, requestId)
      : incoming.method === 'POST' && path === '/v1/messages/count_tokens' ? countTokens(incoming, response)
        : path === '/rehearsal/faults' ? switchFaults(incoming, response)
          : incoming.method === 'GET' && path === '/rehearsal/status' ? Promise.resolve(sendJson(response, 200, status()))
            : Promise.resolve(sendError(response, 404, 'not_found_error', `the rehearsal model serves POST /v1/messages; not ${incoming.method ?? ''} ${path}`))
    handled.catch((error: unknown) => {
      if (response.headersSent) response.destroy()
      else sendError(response, 500, 'api_error', error instanceof Error ? error.message : String(error))
    })
  })
  server.listen(options.port ?? 0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    status,
    calls: () => calls,
    async [Symbol.asyncDispose]() {
      stopping.abort()
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

const FAIL_TYPES: Record<NonNullable<Turn['fail']>['status'], ErrorType> = {
  400: 'invalid_request_error', 401: 'authentication_error', 403: 'permission_error', 429: 'rate_limit_error', 500: 'api_error', 503: 'api_error', 529: 'overloaded_error',
}

/** Checks a request as the API does; answers and returns null when it is not good. */
async function readRequest(incoming: IncomingMessage, response: ServerResponse): Promise<MessagesRequest | null> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size <= MAX_BODY_BYTES) chunks.push(chunk)
  }
  const refuse = (code: number, type: ErrorType, message: string): null => {
    sendError(response, code, type, message)
    return null
  }
  if (!incoming.headers['x-api-key'] && !incoming.headers.authorization) return refuse(401, 'authentication_error', 'x-api-key header is required')
  if (!incoming.headers['anthropic-version']) return refuse(400, 'invalid_request_error', 'anthropic-version: header is required')
  if (size > MAX_BODY_BYTES) return refuse(413, 'request_too_large', 'Request exceeds the maximum size')
  let body: unknown
  try {
    body = JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (error) {
    return refuse(400, 'invalid_request_error', `The request body is not valid JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
  const parsed = (incoming.url?.includes('count_tokens') ? MessagesRequest.extend({ max_tokens: z.number().default(1) }) : MessagesRequest).safeParse(body)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    return refuse(400, 'invalid_request_error', `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`)
  }
  const problem = conversationProblem(parsed.data)
  if (problem) return refuse(400, 'invalid_request_error', problem)
  const choice = parsed.data.tool_choice?.type
  if ((choice === 'tool' || choice === 'any') && !modelTraits(parsed.data.model).forcedTools) {
    return refuse(400, 'invalid_request_error', 'tool_choice: type "tool" and "any" are not supported for this model.')
  }
  return parsed.data
}

async function countTokens(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const request = await readRequest(incoming, response)
  if (!request) return
  const usage = inputUsage(request)
  sendJson(response, 200, { input_tokens: usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens })
}

function makeAnswer(request: MessagesRequest, asking: Asking, turn: Turn, broken: boolean): Answer {
  const whole = answerBlocks(turn, request, asking)
  const { blocks, outputTokens, limited } = limitAnswer(broken ? malform(whole) : whole, request.max_tokens)
  return {
    id: stableId('msg', request, 'message'),
    // The name of the model that it stands for stays readable, and can never be taken for it.
    model: request.model.startsWith('rehearsal') ? request.model : `rehearsal-${request.model}`,
    blocks,
    stopReason: limited ? 'max_tokens' : blocks.some((block) => block.type === 'tool_use') ? 'tool_use' : 'end_turn',
    usage: { ...inputUsage(request), output_tokens: outputTokens },
  }
}

interface Faults { cut: Pick<NonNullable<Turn['cut']>, 'afterEvents'> | null; silence: Pick<NonNullable<Turn['silence']>, 'ms' | 'afterEvents'> | null }

/** Sends the answer; `started`: some of it went out; `complete`: all of it did. */
async function send(response: ServerResponse, request: MessagesRequest, answer: Answer, faults: Faults, over: AbortSignal): Promise<{ started: boolean; complete: boolean; bytes: number }> {
  const events = request.stream === true ? messageEvents(answer) : [JSON.stringify(messageBody(answer))]
  let sent = 0
  let bytes = 0
  for (const event of events) {
    if (faults.silence?.afterEvents === sent && !await waited(faults.silence.ms, over)) return { started: sent > 0, complete: false, bytes }
    if (!response.headersSent) {
      response.writeHead(200, request.stream === true ? { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' } : { 'content-type': 'application/json' })
      response.flushHeaders()
    }
    if (faults.cut?.afterEvents === sent) return { started: true, complete: false, bytes }
    if (over.aborted) return { started: sent > 0, complete: false, bytes }
    const room = response.write(event)
    sent++
    bytes += Buffer.byteLength(event)
    if (!room) await drained(response, over)
  }
  return { started: true, complete: true, bytes }
}

/** Waits until more may be written; returns at once when the caller has gone. */
async function drained(response: ServerResponse, over: AbortSignal): Promise<void> {
  try {
    await once(response, 'drain', { signal: over })
  } catch (error) {
    if (!over.aborted) throw error
  }
}

/** Waits; false when the caller went away or the server is stopping. */
async function waited(ms: number, over: AbortSignal): Promise<boolean> {
  if (ms === 0) return !over.aborted
  try {
    await after(ms, undefined, { signal: over })
    return true
  } catch (error) {
    if (over.aborted) return false
    throw error
  }
}

function sendJson(response: ServerResponse, code: number, body: unknown): void {
  response.writeHead(code, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

function sendError(response: ServerResponse, code: number, type: ErrorType, message: string): void {
  sendJson(response, code, { type: 'error', error: { type, message }, request_id: response.getHeader('request-id') })
}
