/*
 * What a guest may send to its proxy to get where it must not, as raw bytes, with the refusal that answers it. Tried against
 * the proxy alone (egress.netns.test.ts) and from inside a microVM (packages/testkit/isolation).
 */

export const PUBLIC = '93.184.216.34'
export const PUBLIC_V6 = '2606:2800:220:1::34'
export const OTHER_PUBLIC = '8.8.4.4'
/** Metadata, private, shared, benchmark and cloud-internal addresses. */
export const FORBIDDEN = ['169.254.169.254', '100.100.100.200', '10.1.2.3', '192.168.7.7', '172.16.9.9', '100.64.3.3', '198.18.0.5', '168.63.129.16', 'fd00:ec2::254', 'fd12::9'] as const
export const EXEMPT = '10.99.0.5'

/** `bad0.test` … are on the list and lead to the forbidden addresses. */
export const FORBIDDEN_NAMES = FORBIDDEN.map((address, index): [string, string] => [`bad${index}.test`, address])
export const ALLOWED = ['good.test', 'v6.test', 'both.test', '*.wild.test', 'rebind.test', 'rebound.test', 'mixed.test', 'inner.test', 'other.test', ...FORBIDDEN_NAMES.map(([name]) => name), 'loop.test', 'loop6.test', 'mapped.test', 'metadata.test']
export const EXEMPTIONS = [{ host: 'inner.test', cidr: '10.99.0.0/24' }, { host: 'metadata.test', cidr: '0.0.0.0/0' }, { host: 'metadata.test', cidr: '::/0' }]
/** Answers of the name server in turn; the last one stays. */
export const NAMES: Record<string, string[][]> = {
  'good.test': [[PUBLIC]], 'v6.test': [[PUBLIC_V6]], 'both.test': [[PUBLIC, PUBLIC_V6]], 'a.wild.test': [[PUBLIC]], 'other.test': [[EXEMPT]], 'inner.test': [[EXEMPT]],
  'rebind.test': [[PUBLIC], ['127.0.0.1']], 'rebound.test': [['127.0.0.1'], [PUBLIC]], 'mixed.test': [[PUBLIC, '10.1.2.3']],
  'loop.test': [['127.0.0.1']], 'loop6.test': [['::1']], 'mapped.test': [['::ffff:169.254.169.254']], 'metadata.test': [['169.254.169.254', 'fd00:ec2::254']], 'evil.test': [[PUBLIC]],
  ...Object.fromEntries(FORBIDDEN_NAMES.map(([name, address]) => [name, [[address]]])),
}

export const get = (host: string): string => `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
export const connect = (host: string, payload = '\x16\x03\x01handshake'): string => `CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n${payload}`

/** Names of the list that lead to where nobody may go, with that address. */
export const LISTED_NAMES: [string, string][] = [...FORBIDDEN_NAMES, ['loop.test', '127.0.0.1'], ['loop6.test', '::1'], ['mapped.test', '169.254.169.254'], ['mixed.test', '10.1.2.3'], ['other.test', EXEMPT], ['metadata.test', '169.254.169.254']]

/** The same few addresses in every notation that some resolver or URL parser reads: decimal, hexadecimal, octal, short, IPv6, mapped, with a zone. */
export const LITERALS = [
  '169.254.169.254', '2852039166', '0xa9fea9fe', '0xa9.0xfe.0xa9.0xfe', '0251.0376.0251.0376', '169.254.43518', '[fd00:ec2::254]', '[::ffff:169.254.169.254]', '[::ffff:a9fe:a9fe]',
  '127.0.0.1', '127.1', '0', '0.0.0.0', '2130706433', '0x7f000001', '[::1]', '[::]', '[::ffff:127.0.0.1]', '[fe80::1%25lo]', '10.1.2.3', PUBLIC, `[${PUBLIC_V6}]`,
]

const good = 'good.test'
/** Title, bytes, and the code of the refusal. */
export const ATTACKS: [string, string, string][] = [
  ['a host off the list', get('evil.test'), 'egress_host_not_allowed'],
  ['a host off the list by CONNECT', connect('evil.test:443'), 'egress_host_not_allowed'],
  ['an odd port', get('good.test:8080'), 'egress_port_refused'],
  ['an odd port by CONNECT', connect('good.test:22', 'SSH-2.0-x\r\n'), 'egress_port_refused'],
  ['the name of this machine', get('localhost'), 'egress_host_not_allowed'],
  ['user information', get('good.test@evil.test'), 'egress_host_invalid'],
  ['a second host after a backslash', get('evil.test\\@good.test'), 'egress_request_refused'],
  ['a Host that is another', `GET http://${good}/ HTTP/1.1\r\nHost: evil.test\r\n\r\n`, 'egress_host_mismatch'],
  ['an allowed Host for a forbidden target', `GET http://169.254.169.254/ HTTP/1.1\r\nHost: ${good}\r\n\r\n`, 'egress_ip_literal'],
  ['origin form with a forbidden Host', 'GET /latest/meta-data HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n', 'egress_request_refused'],
  ['https in absolute form', `GET https://${good}/ HTTP/1.1\r\nHost: ${good}\r\n\r\n`, 'egress_request_refused'],
  ['both lengths', `POST http://${good}/ HTTP/1.1\r\nHost: ${good}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n`, 'egress_request_refused'],
  ['two lengths', `POST http://${good}/ HTTP/1.1\r\nHost: ${good}\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n`, 'egress_request_refused'],
  ['an odd coding', `POST http://${good}/ HTTP/1.1\r\nHost: ${good}\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`, 'egress_request_refused'],
  ['a bare LF', `GET http://${good}/ HTTP/1.1\nHost: ${good}\n\n`, 'egress_request_refused'],
  ['a space before the colon', `POST http://${good}/ HTTP/1.1\r\nHost: ${good}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n`, 'egress_request_refused'],
  ['a header hidden in a folded line', `GET http://${good}/ HTTP/1.1\r\nX: y\r\n Host: evil.test\r\n\r\n`, 'egress_request_refused'],
  ['another host inside a tunnel', connect(`${good}:80`, 'GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n'), 'egress_host_mismatch'],
  ['a metadata target inside a tunnel', connect(`${good}:80`, 'GET http://169.254.169.254/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n'), 'egress_ip_literal'],
  ['a tunnel inside a tunnel', connect(`${good}:80`, connect('127.0.0.1:22')), 'egress_request_refused'],
]
