import { DomainError } from '@swarm/core/errors.ts'
import { looksLikeAddress } from '@swarm/core/net/addresses.ts'

export interface Target {
  /** Lower case, a plain name: never an address, user information or trailing dot. */
  host: string
  port: number
}

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/

/**
 * Reads `host[:port]` by a grammar that is narrower than any parser behind us, so that nobody can read another host in it:
 * user information, addresses in every notation, non-ASCII, percent signs and trailing dots are refused.
 * @throws DomainError egress_ip_literal, egress_host_invalid, egress_port_refused.
 */
export function parseAuthority(text: string, defaultPort: number): Target {
  if (text.includes('@')) throw new DomainError('egress_host_invalid', { host: shown(text) })
  if (text.startsWith('[') || text.split(':').length > 2) throw new DomainError('egress_ip_literal', { host: shown(text) })
  const [name = '', portText] = text.split(':')
  const host = name.toLowerCase()
  if (looksLikeAddress(host)) throw new DomainError('egress_ip_literal', { host: shown(host) })
  if (host.length > 253 || !host.split('.').every((label) => LABEL.test(label))) throw new DomainError('egress_host_invalid', { host: shown(host) })
  if (portText === undefined) return { host, port: defaultPort }
  if (!/^[1-9]\d{0,4}$/.test(portText) || Number(portText) > 65_535) throw new DomainError('egress_port_refused', { host, port: shown(portText), allowed: '80 or 443' })
  return { host, port: Number(portText) }
}

/** Reads the absolute form of a proxied request (`http://host[:port]/path`). @throws DomainError as above, egress_request_refused. */
export function parseAbsoluteForm(text: string): { target: Target; path: string } {
  if (text.startsWith('/') || text === '*') throw refused('it names no host: this port is a proxy, not a server')
  if (/^https:/i.test(text)) throw refused('https:// goes by CONNECT')
  const match = /^http:\/\/([^/?#\\]*)([/?][^#\\\s]*)?$/i.exec(text)
  if (match === null) throw refused('its target is no http:// address')
  const rest = match[2] ?? '/'
  return { target: parseAuthority(match[1] ?? '', 80), path: rest.startsWith('?') ? `/${rest}` : rest }
}

/** The Host header must name the very target, its port included unless it is the default. @throws DomainError egress_host_mismatch. */
export function checkHostHeader(header: string | undefined, target: Target, defaultPort: number): void {
  if (header === undefined) throw new DomainError('egress_host_mismatch', { header: 'nothing', host: target.host })
  // A Host header that does not parse is refused for what it is.
  const named = parseAuthority(header, defaultPort)
  if (named.host !== target.host || named.port !== target.port) throw new DomainError('egress_host_mismatch', { header: shown(header), host: `${target.host}:${target.port}` })
}

/**
 * Shapes that two parsers may frame differently. Node's strict parser refuses most of them before; these checks hold whatever
 * its options become. The request that goes out is written anew from what was parsed, never copied.
 * @throws DomainError egress_request_refused.
 */
export function checkFraming(rawHeaders: readonly string[], httpVersion: string): void {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') throw refused(`HTTP/${httpVersion} is not spoken here`)
  const values = new Map<string, string[]>()
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase()
    values.set(name, [...(values.get(name) ?? []), rawHeaders[index + 1] ?? ''])
  }
  const lengths = values.get('content-length') ?? []
  const encodings = values.get('transfer-encoding') ?? []
  if ((values.get('host') ?? []).length > 1) throw refused('it has several Host headers')
  if (lengths.length > 1 || lengths.some((value) => !/^\d+$/.test(value))) throw refused('its Content-Length is not one number')
  if (encodings.length > 1 || encodings.some((value) => value.toLowerCase() !== 'chunked')) throw refused('its Transfer-Encoding is not "chunked"')
  if (lengths.length > 0 && encodings.length > 0) throw refused('it has both Content-Length and Transfer-Encoding')
  if (encodings.length > 0 && httpVersion === '1.0') throw refused('it sends Transfer-Encoding in HTTP/1.0')
}

export function refused(problem: string): DomainError {
  return new DomainError('egress_request_refused', { problem })
}

/** What a guest wrote goes into events and logs: bounded and printable. */
function shown(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
}
