import { lookup as systemLookup } from 'node:dns/promises'
import net from 'node:net'
import tls from 'node:tls'
import { DomainError } from '@swarm/core/errors.ts'
import { checkAddresses, type EgressPolicy } from './policy.ts'
import type { Target } from './request-target.ts'

export type Lookup = (host: string) => Promise<{ address: string; family: number }[]>
/** HTTP(S) proxy that this network wants for the way out; user and password of its URL become its Proxy-Authorization. */
export interface UpstreamProxy {
  url: string
}
export interface DialSettings {
  policy: EgressPolicy
  lookup?: Lookup
  upstreamProxy?: UpstreamProxy
  /** PEM certificates trusted in addition to the system's, for the upstream proxy and hosts that get secrets. */
  ca?: string
  connectTimeoutMs: number
}
/** Where a connection goes: addresses that were checked, to which it is pinned; or the name, through the upstream proxy. */
export type Route = { via: 'direct'; target: Target; addresses: string[] } | { via: 'proxy'; target: Target; proxy: URL }

const resolveAll: Lookup = (host) => systemLookup(host, { all: true })

/**
 * Resolves the name once and checks every address. What comes back is connected to as it is: there is no second look-up that
 * could answer otherwise. With an upstream proxy the proxy resolves again, so its answer cannot be pinned here: a name that
 * resolves on this host is still checked; one that only the proxy can resolve goes by the allow-list alone.
 * @throws DomainError egress_unresolved, egress_address_refused.
 */
export async function resolveRoute(target: Target, settings: DialSettings): Promise<Route> {
  const proxy = settings.upstreamProxy === undefined ? undefined : new URL(settings.upstreamProxy.url)
  const answers = await (settings.lookup ?? resolveAll)(target.host).catch((error: NodeJS.ErrnoException) => {
    if (proxy !== undefined) return []
    throw new DomainError('egress_unresolved', { host: target.host, problem: error.code ?? error.message })
  })
  const addresses = answers.map((answer) => answer.address)
  checkAddresses(settings.policy, target.host, addresses)
  if (proxy !== undefined) return { via: 'proxy', target, proxy }
  if (addresses.length === 0) throw new DomainError('egress_unresolved', { host: target.host, problem: 'no address' })
  return { via: 'direct', target, addresses }
}

/** A connection for bytes of the guest. Through a proxy it is a CONNECT tunnel. @throws DomainError egress_unreachable. */
export async function dialTunnel(route: Route, settings: DialSettings): Promise<net.Socket> {
  if (route.via === 'direct') return dialPinned(route, settings)
  const socket = await dialProxy(route, settings)
  const { host, port } = route.target
  const credentials = proxyAuthorization(route.proxy)
  socket.write(`CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n${credentials === undefined ? '' : `Proxy-Authorization: ${credentials}\r\n`}\r\n`)
  try {
    await readConnectAnswer(socket, route.target.host, settings.connectTimeoutMs)
  } catch (error) {
    socket.destroy()
    throw error
  }
  return socket
}

/** A connection on which HTTP is spoken: to the pinned address, or to the proxy (then the request line is absolute). */
export function dialHttp(route: Route, settings: DialSettings): Promise<net.Socket> {
  return route.via === 'direct' ? dialPinned(route, settings) : dialProxy(route, settings)
}

export function proxyAuthorization(proxy: URL): string | undefined {
  if (proxy.username === '') return undefined
  return `Basic ${Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`).toString('base64')}`
}

async function dialPinned(route: Extract<Route, { via: 'direct' }>, settings: DialSettings): Promise<net.Socket> {
  let problem = 'no address'
  for (const address of route.addresses) {
    try {
      return await opened(net.connect({ host: address, port: route.target.port, noDelay: true }), 'connect', settings.connectTimeoutMs)
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error)
    }
  }
  throw new DomainError('egress_unreachable', { host: route.target.host, problem })
}

async function dialProxy(route: Extract<Route, { via: 'proxy' }>, settings: DialSettings): Promise<net.Socket> {
  const secure = route.proxy.protocol === 'https:'
  const host = route.proxy.hostname.replace(/^\[|\]$/g, '')
  const port = route.proxy.port === '' ? (secure ? 443 : 80) : Number(route.proxy.port)
  try {
    if (!secure) return await opened(net.connect({ host, port, noDelay: true }), 'connect', settings.connectTimeoutMs)
    const ca = settings.ca === undefined ? undefined : [...tls.getCACertificates('default'), settings.ca]
    return await opened(tls.connect({ host, port, servername: net.isIP(host) === 0 ? host : '', ca }), 'secureConnect', settings.connectTimeoutMs)
  } catch (error) {
    throw new DomainError('egress_unreachable', { host: route.target.host, problem: `the upstream proxy: ${error instanceof Error ? error.message : String(error)}` })
  }
}

/** The socket once it is open; destroyed when that takes too long. */
export function opened<Socket extends net.Socket>(socket: Socket, event: 'connect' | 'secureConnect', timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(new Error(`no connection after ${timeoutMs} ms`)), timeoutMs)
    const fail = (error: Error): void => {
      clearTimeout(timer)
      reject(error)
    }
    socket.once('error', fail)
    socket.once(event, () => {
      clearTimeout(timer)
      socket.removeListener('error', fail)
      resolve(socket)
    })
  })
}

/** Largest head of the proxy's answer to CONNECT, bytes. */
const MAX_CONNECT_HEAD = 16_384

function readConnectAnswer(socket: net.Socket, host: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let head = Buffer.alloc(0)
    const settle = (problem?: string): void => {
      clearTimeout(timer)
      socket.removeListener('readable', read).removeListener('error', broken).removeListener('end', ended)
      if (problem === undefined) resolve()
      else reject(new DomainError('egress_unreachable', { host, problem: `the upstream proxy ${problem}` }))
    }
    const timer = setTimeout(() => settle('did not answer'), timeoutMs)
    const broken = (error: Error): void => settle(`broke off: ${error.message}`)
    const ended = (): void => settle('closed the connection')
    const read = (): void => {
      for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
        head = Buffer.concat([head, chunk])
        const end = head.indexOf('\r\n\r\n')
        if (end === -1 && head.length <= MAX_CONNECT_HEAD) continue
        const status = /^HTTP\/1\.[01] (\d{3})/.exec(head.toString('latin1'))?.[1]
        if (end === -1 || status === undefined) return settle('gave an answer that is no HTTP')
        if (!status.startsWith('2')) return settle(`answered ${status}`)
        // What follows the head belongs to the tunnel.
        if (end + 4 < head.length) socket.unshift(head.subarray(end + 4))
        return settle()
      }
    }
    socket.on('readable', read).once('error', broken).once('end', ended)
  })
}
