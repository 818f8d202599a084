import { Agent, request as httpRequest } from 'node:http'
import { parseJson } from '@swarm/core/json.ts'
import type { ApiRequest } from './requests.ts'

/** Longer than any answer takes but that to a snapshot, whose memory is written before it. */
const ANSWER_TIMEOUT_MS = 10_000
const SNAPSHOT_TIMEOUT_MS = 120_000

/** What Firecracker answered to a request that it refused, or why there was no answer. */
export class FirecrackerError extends Error {
  override readonly name = 'FirecrackerError'
  /** Of the answer; null when there was none. */
  readonly status: number | null

  constructor(request: ApiRequest, status: number | null, problem: string, options?: ErrorOptions) {
    super(`${request.method} ${request.path}: ${status === null ? problem : `${status} ${problem}`}`, options)
    this.status = status
  }
}

export interface FirecrackerApi extends Disposable {
  /**
   * One after the other: its server takes one at a time.
   * @returns the JSON of the answer, null when it has none
   * @throws FirecrackerError
   */
  send(request: ApiRequest): Promise<unknown>
}

/** @param socketPath of a Firecracker that listens already */
export function connectApi(socketPath: string): FirecrackerApi {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  return {
    send: (request) => send(agent, socketPath, request),
    [Symbol.dispose]: () => { agent.destroy() },
  }
}

function send(agent: Agent, socketPath: string, request: ApiRequest): Promise<unknown> {
  const body = request.body === undefined ? null : Buffer.from(JSON.stringify(request.body))
  const timeoutMs = request.path.startsWith('/snapshot/') ? SNAPSHOT_TIMEOUT_MS : ANSWER_TIMEOUT_MS
  return new Promise((resolve, reject) => {
    const fail = (problem: string, cause?: unknown) => { reject(new FirecrackerError(request, null, problem, { cause })) }
    const outgoing = httpRequest({
      agent, socketPath, method: request.method, path: request.path, host: 'localhost', timeout: timeoutMs,
      headers: { accept: 'application/json', ...(body === null ? {} : { 'content-type': 'application/json', 'content-length': body.length }) },
    }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('error', (error) => { fail(`the answer was cut: ${error.message}`, error) })
      response.once('end', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        const json = parseJson(text) ?? null
        const status = response.statusCode ?? 0
        if (status >= 200 && status < 300) resolve(json)
        else reject(new FirecrackerError(request, status, faultOf(json) ?? text.trim()))
      })
    })
    outgoing.once('timeout', () => { outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)) })
    outgoing.once('error', (error) => { fail(error.message, error) })
    outgoing.end(body ?? undefined)
  })
}

function faultOf(json: unknown): string | null {
  return typeof json === 'object' && json !== null && 'fault_message' in json && typeof json.fault_message === 'string' ? json.fault_message : null
}
