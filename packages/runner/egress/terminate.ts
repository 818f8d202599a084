import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { DomainError } from '@swarm/core/errors.ts'
import type { Authority } from './authority.ts'
import { opened, type DialSettings } from './dial.ts'

/** HTTP/1.1 alone: it is what is parsed on the host. */
const ALPN = ['http/1.1']

/**
 * Ends the TLS of a tunnel to a host that gets secrets, in the name of that host and no other.
 * @param onFailed hears why a guest did not come to terms; then the stream is over
 */
export function terminateTls(stream: Duplex, host: string, authority: Authority, onFailed: (error: DomainError) => void): tls.TLSSocket {
  const secureContext = authority.contextOf(host)
  let mismatch: DomainError | null = null
  const socket = new tls.TLSSocket(stream, {
    isServer: true, secureContext, ALPNProtocols: ALPN,
    SNICallback: (name, done) => {
      if (name.toLowerCase() === host) return done(null, secureContext)
      mismatch = new DomainError('egress_host_mismatch', { header: name.replace(/[^\x20-\x7e]/g, '?').slice(0, 200), host })
      done(mismatch)
    },
  })
  let secured = false
  socket.once('secure', () => { secured = true })
  // From here on what breaks is between the two.
  socket.on('error', (error) => {
    if (!secured) onFailed(mismatch ?? new DomainError('egress_request_refused', { problem: `TLS with the guest failed (${error.message.slice(0, 200)}); the program must trust the certificates that SSL_CERT_FILE names, and speak HTTP/1.1` }))
    stream.destroy()
  })
  stream.once('close', () => socket.destroy())
  return socket
}

/** Begins TLS with the host itself, whose certificate must be right: nothing is sent to anybody else. @throws DomainError egress_unreachable */
export async function secureUpstream(socket: Duplex, host: string, dial: DialSettings): Promise<tls.TLSSocket> {
  try {
    return await opened(tls.connect({ socket, host, servername: host, secureContext: trustOf(dial.ca), ALPNProtocols: ALPN }), 'secureConnect', dial.connectTimeoutMs)
  } catch (error) {
    socket.destroy()
    throw new DomainError('egress_unreachable', { host, problem: `TLS with it failed: ${error instanceof Error ? error.message : String(error)}` })
  }
}

const trusts = new Map<string | undefined, tls.SecureContext>()

/** What is trusted, made once for each setting: reading 150 certificates takes longer (20 ms) than the rest of a request. */
function trustOf(ca: string | undefined): tls.SecureContext {
  const known = trusts.get(ca)
  if (known !== undefined) return known
  const made = tls.createSecureContext({ minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca: [...tls.getCACertificates('default'), ca] }) })
  trusts.set(ca, made)
  return made
}
