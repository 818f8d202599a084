import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { pipeline, type Duplex } from 'node:stream'
import { DomainError } from '@swarm/core/errors.ts'
import { dialTunnel, resolveRoute, type DialSettings, type Lookup, type UpstreamProxy } from './dial.ts'
import type { Authority } from './authority.ts'
import { forwardToHost, forwardToSwarm, forwardWithSecrets } from './forward.ts'
import { ByteBudget, GuestConnection } from './meter.ts'
import { portModeOf, type EgressPolicy } from './policy.ts'
import { checkFraming, checkHostHeader, parseAbsoluteForm, parseAuthority, refused, type Target } from './request-target.ts'
import { isSwarmHost, swarmEndpoint, type SwarmRoutes } from './routes.ts'
import type { EgressSecrets } from './secrets.ts'
import { terminateTls } from './terminate.ts'

export interface EgressLimits {
  /** Bytes of traffic with hosts on the list, both ways together. */
  egressBytes: number
  /** Streams of the guest open at once. */
  connections: number
  /** A stream without a byte for so long is closed. */
  idleMs: number
  /** The same while a request to the Swarm server is open: a model may think for long. */
  routeIdleMs: number
  connectTimeoutMs: number
}
export const DEFAULT_EGRESS_LIMITS: EgressLimits = { egressBytes: 2 * 1024 ** 3, connections: 64, idleMs: 300_000, routeIdleMs: 900_000, connectTimeoutMs: 15_000 }

/** Something the proxy did not do. `host` is as the guest wrote it (bounded), or empty when the request was not that far. */
export interface Refusal {
  code: string
  message: string
  remedy: string
  method: string
  host: string
  port: number | null
}

export interface EgressOptions {
  correlationId: string
  policy: EgressPolicy
  routes: SwarmRoutes
  /** Asked before each request to the Swarm server; what it throws is what the guest is told. */
  permit?: () => void
  /** Called once for each host, port and code (a guest that repeats itself does not flood the log), at most 200 times. */
  onRefusal: (refusal: Refusal) => void
  limits?: Partial<EgressLimits>
  upstreamProxy?: UpstreamProxy
  /** PEM certificates trusted in addition to the system's, for an https upstream proxy and hosts that get secrets. */
  ca?: string
  /** Those of the work; its TLS is ended here for exactly the hosts that get any. */
  secrets?: EgressSecrets
  /** Default: the resolver of the system. */
  lookup?: Lookup
}

export interface EgressStats {
  openConnections: number
  /** Model calls that have no whole answer yet. */
  openModelCalls: number
  egressBytes: number
  refusals: number
}

/** The only way out of one microVM. */
export interface EgressProxy extends AsyncDisposable {
  /** Takes a byte stream that a process in the guest opened to its local proxy port. */
  accept(stream: Duplex): void
  stats(): EgressStats
}

const MAX_REPORTED_REFUSALS = 200
/** How long a guest may take to close a stream after its refusal. */
const CLOSE_GRACE_MS = 2_000
/** First byte of a TLS record that carries a handshake. */
const TLS_HANDSHAKE = 0x16

/**
 * The egress proxy of one microVM. HTTP and CONNECT are parsed here, on the host, and nowhere else; docs/egress.md has the rules.
 * Disposing ends every connection.
 */
export function createEgressProxy(options: EgressOptions): EgressProxy {
  const limits = { ...DEFAULT_EGRESS_LIMITS, ...options.limits }
  const dial: DialSettings = { policy: options.policy, lookup: options.lookup, upstreamProxy: options.upstreamProxy, ca: options.ca, connectTimeoutMs: limits.connectTimeoutMs }
  const { secrets } = options
  const budget = new ByteBudget(limits.egressBytes)
  const connections = new Map<Duplex, GuestConnection>()
  /** By the plain side of a tunnel whose TLS is ended here. */
  const terminated = new WeakMap<Duplex, GuestConnection>()
  let openModelCalls = 0
  const report = refusalReporter(options.onRefusal)

  const connectionOf = (stream: Duplex): GuestConnection => {
    const connection = connections.get(stream) ?? terminated.get(stream)
    if (connection === undefined) throw new Error('a request came on a stream that was never accepted')
    return connection
  }

  const handle = async (request: IncomingMessage, response: ServerResponse, connection: GuestConnection): Promise<void> => {
    const method = request.method ?? ''
    let target: Target | undefined = connection.tunnel
    try {
      checkFraming(request.rawHeaders, request.httpVersion)
      if (method === 'TRACE') throw refused('TRACE is not passed on')
      const url = request.url ?? ''
      const absolute = connection.tunnel !== undefined && url.startsWith('/') ? { target: connection.tunnel, path: url } : parseAbsoluteForm(url)
      if (connection.tunnel !== undefined && (absolute.target.host !== connection.tunnel.host || absolute.target.port !== connection.tunnel.port)) {
        throw new DomainError('egress_host_mismatch', { header: absolute.target.host, host: connection.tunnel.host })
      }
      target = absolute.target
      checkHostHeader(request.headers.host, target, connection.terminated ? 443 : 80)
      if (isSwarmHost(target.host)) {
        const { url: endpoint, route } = swarmEndpoint(options.routes, target, method, absolute.path)
        options.permit?.()
        connection.setIdle(limits.routeIdleMs)
        const isModelCall = route === options.routes.model
        if (isModelCall) openModelCalls += 1
        try {
          await forwardToSwarm(request, response, { connection, host: target.host, url: endpoint, route, correlationId: options.correlationId })
        } finally {
          if (isModelCall) openModelCalls -= 1
        }
      } else {
        const mode = portModeOf(options.policy, target)
        const about = { connection, target, path: absolute.path, budget, dial }
        if (secrets?.has(target.host) !== true) await forwardToHost(request, response, { ...about, mode })
        else if (connection.terminated) await forwardWithSecrets(request, response, { ...about, secrets })
        else throw new DomainError('egress_secret_needs_tls', { host: target.host })
      }
    } catch (error) {
      refuseRequest(request, response, report(error, method, target))
    } finally {
      connection.setIdle(limits.idleMs)
    }
  }

  const handleConnect = async (request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> => {
    const connection = connectionOf(stream)
    let target: Target | undefined
    try {
      if (connection.tunnel !== undefined) throw refused('it is a CONNECT inside a tunnel')
      checkFraming(request.rawHeaders, request.httpVersion)
      const text = request.url ?? ''
      if (!/:\d+$/.test(text)) throw refused('its CONNECT names no port')
      target = parseAuthority(text, 443)
      if (request.headers.host !== undefined) checkHostHeader(request.headers.host, target, target.port)
      const mode = isSwarmHost(target.host) ? 'http' : portModeOf(options.policy, target)
      if (isSwarmHost(target.host) && target.port !== 80) throw new DomainError('egress_port_refused', { host: target.host, port: target.port, allowed: `80 (http://${target.host})` })
      connection.touch()
      if (head.length > 0) stream.unshift(head)
      connection.tunnel = target
      if (mode === 'http') {
        // Plain HTTP in a tunnel is read here like any other, so that its Host header cannot name somebody else.
        stream.write('HTTP/1.1 200 Connection Established\r\n\r\n')
        server.emit('connection', stream)
      } else if (secrets?.has(target.host) === true) {
        await endTls(connection, target, secrets.authority)
      } else {
        await tunnelTls(connection, target)
      }
    } catch (error) {
      refuseStream(stream, report(error, 'CONNECT', target))
    }
  }

  /** Answers CONNECT, and tells whether the guest then begins TLS; a stream of anything else is over. */
  const beginsTls = async ({ stream }: GuestConnection, target: Target): Promise<boolean> => {
    stream.write('HTTP/1.1 200 Connection Established\r\n\r\n')
    const first = await firstChunk(stream)
    if (first === null || first[0] !== TLS_HANDSHAKE) {
      stream.destroy()
      if (first !== null) report(refused(`a tunnel to port ${target.port} must begin with TLS`), 'CONNECT', target)
      return false
    }
    stream.unshift(first)
    return true
  }

  /** What the guest asks for inside is read here like any other request; the host is dialled for each of them. */
  const endTls = async (connection: GuestConnection, target: Target, authority: Authority): Promise<void> => {
    budget.check()
    if (!await beginsTls(connection, target)) return
    const plain = terminateTls(connection.stream, target.host, authority, (error) => void report(error, 'CONNECT', target))
    connection.terminated = true
    terminated.set(plain, connection)
    server.emit('connection', plain)
  }

  const tunnelTls = async (connection: GuestConnection, target: Target): Promise<void> => {
    const { stream } = connection
    budget.check()
    const upstream = await dialTunnel(await resolveRoute(target, dial), dial)
    if (stream.destroyed) {
      upstream.destroy()
      return
    }
    upstream.on('error', () => stream.destroy())
    // Two pipelines and the listeners above are more than the ten at which Node suspects a leak; they end with the tunnel.
    stream.setMaxListeners(24)
    upstream.setMaxListeners(24)
    stream.once('close', () => upstream.destroy())
    if (!await beginsTls(connection, target)) return
    const exhausted = (error: Error): void => void report(error, 'CONNECT', target)
    // A tunnel ends when either side ends it; how is between the two.
    const ended = (error: Error | null | undefined): void => void (error && stream.destroy())
    pipeline(stream, connection.meter(budget, exhausted), upstream, ended)
    pipeline(upstream, connection.meter(budget, exhausted), stream, ended)
  }

  const server = http.createServer({ insecureHTTPParser: false, requireHostHeader: false, keepAliveTimeout: 0 })
  server.on('request', (request, response) => void handle(request, response, connectionOf(request.socket)))
  server.on('checkExpectation', (request, response) => void handle(request, response, connectionOf(request.socket)))
  server.on('connect', (request, stream, head) => void handleConnect(request, stream, head))
  server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
    // ECONNRESET and the like: the guest went away, nothing was asked.
    if (error.code?.startsWith('HPE_') === true) refuseStream(stream, report(refused(`it is no well-formed HTTP (${error.code})`), '', (connections.get(stream) ?? terminated.get(stream))?.tunnel))
    else stream.destroy()
  })

  return {
    accept(stream) {
      if (connections.size >= limits.connections) {
        stream.on('error', () => stream.destroy())
        refuseStream(stream, report(new DomainError('egress_too_many_connections', { limit: limits.connections }), '', undefined))
        return
      }
      connections.set(stream, new GuestConnection(stream, limits.idleMs))
      stream.once('close', () => connections.delete(stream))
      stream.on('error', () => stream.destroy())
      server.emit('connection', stream)
    },
    stats: () => ({ openConnections: connections.size, openModelCalls, egressBytes: budget.usedBytes, refusals: report.count() }),
    [Symbol.asyncDispose]: async () => {
      const closing = [...connections.keys()].map((stream) => new Promise<void>((resolve) => {
        stream.once('close', resolve)
        stream.destroy()
      }))
      await Promise.all(closing)
    },
  }
}

interface Reporter {
  (error: unknown, method: string, target: Target | undefined): DomainError
  count(): number
}

function refusalReporter(onRefusal: EgressOptions['onRefusal']): Reporter {
  const reported = new Set<string>()
  let count = 0
  const report = (error: unknown, method: string, target: Target | undefined): DomainError => {
    const refusal = error instanceof DomainError ? error : new DomainError('egress_unreachable', { host: target?.host ?? '', problem: error instanceof Error ? error.message : String(error) }, { cause: error })
    count++
    const host = target?.host ?? (typeof refusal.details['host'] === 'string' ? refusal.details['host'] : '')
    const port = target?.port ?? null
    const key = `${refusal.code} ${host} ${port}`
    if (!reported.has(key) && reported.size < MAX_REPORTED_REFUSALS) {
      reported.add(key)
      onRefusal({ code: refusal.code, message: refusal.message, remedy: refusal.remedy, method, host, port })
    }
    return refusal
  }
  return Object.assign(report, { count: () => count })
}

function bodyOf(error: DomainError): string {
  return `${JSON.stringify({ code: error.code, message: error.message, remedy: error.remedy })}\n`
}

function refuseRequest(request: IncomingMessage, response: ServerResponse, error: DomainError): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  // The body that still comes is read away, or the guest would wait for room instead of reading the answer.
  request.resume()
  response.writeHead(error.status, { 'content-type': 'application/json', 'x-swarm-refusal': error.code, connection: 'close' })
  response.end(bodyOf(error))
}

/** The same where there is no response object. curl and git show only the status line of a refused CONNECT: the code is in it. */
function refuseStream(stream: Duplex, error: DomainError): void {
  if (!stream.writable) {
    stream.destroy()
    return
  }
  const body = bodyOf(error)
  stream.end(`HTTP/1.1 ${error.status} Refused by Swarm egress (${error.code})\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nX-Swarm-Refusal: ${error.code}\r\nConnection: close\r\n\r\n${body}`)
  // Closing at once could overtake the answer: what the guest still sends is read away until it closes, for a moment.
  stream.resume()
  const timer = setTimeout(() => stream.destroy(), CLOSE_GRACE_MS)
  stream.once('end', () => stream.destroy())
  stream.once('close', () => clearTimeout(timer))
}

/** The first bytes that come, or null when the stream ends or closes before. */
function firstChunk(stream: Duplex): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const settle = (chunk: Buffer | null): void => {
      stream.removeListener('readable', read).removeListener('close', gone).removeListener('end', gone)
      resolve(chunk)
    }
    const gone = (): void => settle(null)
    const read = (): void => {
      const chunk = stream.read() as Buffer | null
      if (chunk !== null) settle(chunk)
    }
    stream.on('readable', read).once('close', gone).once('end', gone)
    read()
  })
}
