import http, { type IncomingMessage, type RequestOptions, type ServerResponse } from 'node:http'
import https from 'node:https'
import { pipeline } from 'node:stream'
import tls from 'node:tls'
import { DomainError } from '@swarm/core/errors.ts'
import { dialHttp, dialTunnel, proxyAuthorization, resolveRoute, type DialSettings } from './dial.ts'
import { endToEnd } from './headers.ts'
import type { Mask } from './mask.ts'
import type { ByteBudget, GuestConnection } from './meter.ts'
import type { PortMode } from './policy.ts'
import { refused, type Target } from './request-target.ts'
import type { SwarmRoute } from './routes.ts'
import type { EgressSecrets } from './secrets.ts'
import { secureUpstream } from './terminate.ts'

/** Bytes of a request's head, near enough for a budget. */
function headBytes(request: IncomingMessage): number {
  return request.rawHeaders.reduce((sum, part) => sum + part.length + 2, (request.url ?? '').length + 16)
}

interface ToHost { connection: GuestConnection; target: Target; path: string; mode: PortMode; budget: ByteBudget; dial: DialSettings }

/** Passes one request on to a host of the allow-list, on a connection of its own to the checked address. */
export async function forwardToHost(request: IncomingMessage, response: ServerResponse, options: ToHost): Promise<void> {
  const { connection, target, path, budget, dial } = options
  if (options.mode !== 'http') throw refused(`port ${target.port} of ${target.host} speaks TLS; use https://, which goes by CONNECT`)
  budget.check()
  budget.spend(headBytes(request))
  const route = await resolveRoute(target, dial)
  const host = target.port === 80 ? target.host : `${target.host}:${target.port}`
  const headers = ['Host', host, ...endToEnd(request.rawHeaders, { dropIdentity: false }), 'Connection', 'close']
  if (route.via === 'proxy') {
    const credentials = proxyAuthorization(route.proxy)
    if (credentials !== undefined) headers.push('Proxy-Authorization', credentials)
  }
  const socket = await dialHttp(route, dial)
  if (response.destroyed) {
    socket.destroy()
    return
  }
  const outgoing = http.request({ createConnection: () => socket, setHost: false, method: request.method, path: route.via === 'proxy' ? `http://${host}${path}` : path, headers: framed(headers, request) })
  await exchange(request, response, outgoing, { connection, host: target.host, budget })
}

/**
 * Passes one request on to a host that gets secrets, by TLS of our own, with their headers. Each request is decided by its own host: a
 * redirect is followed by the guest, if at all, and carries nothing. The answer must be plain, so that what it repeats of them is masked.
 */
export async function forwardWithSecrets(request: IncomingMessage, response: ServerResponse, options: Omit<ToHost, 'mode'> & { secrets: EgressSecrets }): Promise<void> {
  const { connection, target, path, budget, dial, secrets } = options
  budget.check()
  budget.spend(headBytes(request))
  const tunnel = await dialTunnel(await resolveRoute(target, dial), dial)
  const socket = await secureUpstream(tunnel, target.host, dial)
  if (response.destroyed) {
    socket.destroy()
    return
  }
  const own = endToEnd(request.rawHeaders, { dropIdentity: false, alsoDrop: ['accept-encoding'] })
  const headers = ['Host', target.port === 443 ? target.host : `${target.host}:${target.port}`, ...secrets.inject(target.host, own), 'Accept-Encoding', 'identity', 'Connection', 'close']
  const outgoing = http.request({ createConnection: () => socket, setHost: false, method: request.method, path, headers: framed(headers, request) })
  await exchange(request, response, outgoing, { connection, host: target.host, budget, mask: secrets.mask(target.host) })
}

/** Passes one request on to an endpoint of the Swarm server, with the attempt's token; nothing is buffered either way. */
export async function forwardToSwarm(request: IncomingMessage, response: ServerResponse, options: { connection: GuestConnection; host: string; url: URL; route: SwarmRoute; correlationId: string }): Promise<void> {
  const { url, route } = options
  const headers = ['Host', url.host, ...endToEnd(request.rawHeaders, { dropIdentity: true }), 'Authorization', `Bearer ${route.token}`, 'x-correlation-id', options.correlationId]
  const settings: RequestOptions = { method: request.method, setHost: false, headers: framed(headers, request) }
  // A connection for each call: on a reused one the server may hang up just as a model call goes out, and nobody repeats that.
  const outgoing = url.protocol === 'https:'
    ? https.request(url, { ...settings, agent: false, ...(route.ca === undefined ? {} : { ca: [...tls.getCACertificates('default'), route.ca] }) })
    : http.request(url, { ...settings, agent: false })
  await exchange(request, response, outgoing, { connection: options.connection, host: options.host })
}

function framed(headers: string[], request: IncomingMessage): string[] {
  // Content-Length came through with the other headers; a chunked body is chunked anew.
  return request.headers['transfer-encoding'] === undefined ? headers : [...headers, 'Transfer-Encoding', 'chunked']
}

/** @throws DomainError egress_unreachable or egress_bytes_exhausted; when an answer had begun, it is cut off as well. */
function exchange(request: IncomingMessage, response: ServerResponse, outgoing: http.ClientRequest, options: { connection: GuestConnection; host: string; budget?: ByteBudget; mask?: Mask }): Promise<void> {
  const { connection, budget, mask } = options
  return new Promise((resolve, reject) => {
    let guestGone = false
    const fail = (error: Error): void => {
      // What breaks because the guest went away is no fault of anybody.
      if (guestGone && !(error instanceof DomainError)) resolve()
      else reject(error instanceof DomainError ? error : new DomainError('egress_unreachable', { host: options.host, problem: error.message }))
      outgoing.destroy()
      if (response.headersSent) response.destroy()
    }
    // Nobody wants the answer any more: a model call in flight must not go on.
    response.once('close', () => {
      if (response.writableFinished) return
      guestGone = true
      outgoing.destroy()
    })
    outgoing.on('error', fail)
    outgoing.once('close', resolve)
    outgoing.once('response', (answer) => {
      try {
        const encoding = answer.headers['content-encoding'] ?? 'identity'
        if (mask !== undefined && encoding.toLowerCase() !== 'identity') throw new DomainError('egress_answer_encoded', { host: options.host, encoding: encoding.slice(0, 50) })
        const headers = endToEnd(answer.rawHeaders, { dropIdentity: false })
        response.writeHead(answer.statusCode ?? 502, mask?.headers(headers) ?? headers)
        // Server-sent events: the guest sees the head now, not with the first byte of the body.
        response.flushHeaders()
        budget?.spend(headBytes(answer))
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)))
        return
      }
      pipeline([answer, connection.meter(budget, fail), ...(mask === undefined ? [] : [mask.body()]), response], (error) => (error ? fail(error) : resolve()))
    })
    // The head goes out now: a body may begin much later.
    outgoing.flushHeaders()
    pipeline(request, connection.meter(budget, fail), outgoing, (error) => {
      // An answer may come, and end, before the request was sent whole.
      if (error && !response.headersSent) fail(error)
    })
  })
}
