/*
 * IP addresses as numbers, and which of them a microVM may never reach. Sources: IANA IPv4 and IPv6 Special-Purpose Address
 * Registries (RFC 6890 and its updates), IPv4 Multicast (RFC 5771); metadata addresses from the documentation of AWS, Google
 * Cloud, Azure, Alibaba Cloud and Oracle Cloud.
 */

export interface IpAddress {
  readonly family: 4 | 6
  readonly value: bigint
}

export interface IpRange {
  readonly family: 4 | 6
  readonly first: bigint
  readonly last: bigint
}

export type AddressClass = 'public' | 'metadata' | 'loopback' | 'private' | 'link_local' | 'shared' | 'multicast' | 'special_use'

/** Reads the canonical forms: dotted decimal without leading zeros, and RFC 4291 text without a zone; else null. */
export function parseAddress(text: string): IpAddress | null {
  if (text.includes(':')) return parseV6(text)
  const value = parseV4(text)
  return value === null ? null : { family: 4, value }
}

function parseV4(text: string): bigint | null {
  const parts = text.split('.')
  if (parts.length !== 4) return null
  let value = 0n
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null
    value = (value << 8n) | BigInt(part)
  }
  return value
}

function parseV6(text: string): IpAddress | null {
  const halves = text.split('::')
  if (halves.length > 2) return null
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')))
  const last = groups.at(-1)
  const tail = last?.at(-1)
  if (last !== undefined && tail?.includes('.') === true) {
    const embedded = parseV4(tail)
    if (embedded === null) return null
    last.splice(-1, 1, (embedded >> 16n).toString(16), (embedded & 0xffffn).toString(16))
  }
  const count = groups.reduce((sum, half) => sum + half.length, 0)
  if (halves.length === 1 ? count !== 8 : count > 7) return null
  const all = halves.length === 1 ? (groups[0] ?? []) : [...(groups[0] ?? []), ...Array<string>(8 - count).fill('0'), ...(groups[1] ?? [])]
  let value = 0n
  for (const group of all) {
    if (!/^[0-9a-f]{1,4}$/i.test(group)) return null
    value = (value << 16n) | BigInt(`0x${group}`)
  }
  return { family: 6, value }
}

/** Text of an address; IPv6 uncompressed, so that it is unique. */
export function formatAddress(address: IpAddress): string {
  const size = address.family === 4 ? 8 : 16
  const parts: string[] = []
  for (let shift = address.family === 4 ? 24 : 112; shift >= 0; shift -= size) {
    const part = (address.value >> BigInt(shift)) & ((1n << BigInt(size)) - 1n)
    parts.push(part.toString(address.family === 4 ? 10 : 16))
  }
  return parts.join(address.family === 4 ? '.' : ':')
}

/** Reads `address/bits`, or a single address; null when it is neither, or when bits beyond the prefix are set. */
export function parseRange(text: string): IpRange | null {
  const [base = '', bits, ...rest] = text.split('/')
  const address = parseAddress(base)
  if (address === null || rest.length > 0) return null
  const width = address.family === 4 ? 32 : 128
  if (bits !== undefined && !/^(0|[1-9]\d{0,2})$/.test(bits)) return null
  const prefix = bits === undefined ? width : Number(bits)
  if (prefix > width) return null
  const host = (1n << BigInt(width - prefix)) - 1n
  if ((address.value & host) !== 0n) return null
  return { family: address.family, first: address.value, last: address.value | host }
}

export function inRange(address: IpAddress, range: IpRange): boolean {
  return address.family === range.family && address.value >= range.first && address.value <= range.last
}

/**
 * True for everything that some program would read as an IP address: dotted, short, decimal, octal or hexadecimal IPv4 (any
 * name whose last label is a number, as the WHATWG URL standard has it), and all that holds a colon, bracket or zone.
 */
export function looksLikeAddress(host: string): boolean {
  if (/[:[\]%]/.test(host)) return true
  const labels = host.split('.')
  const last = (labels.at(-1) === '' ? labels.at(-2) : labels.at(-1)) ?? ''
  return /^(\d+|0x[0-9a-f]*)$/i.test(last)
}

const METADATA = ranges([
  '169.254.169.0/24', // AWS, Google Cloud, Azure, Oracle and most others
  '169.254.170.0/24', // AWS container credentials
  '100.100.100.200', // Alibaba Cloud
  '168.63.129.16', // Azure's host, a public address
  '192.0.0.192', // Oracle Cloud
  'fd00:ec2::/32', // AWS
  'fd20:ce::/32', // Google Cloud
])

const REFUSED: readonly [AddressClass, readonly IpRange[]][] = [
  ['loopback', ranges(['127.0.0.0/8', '::1'])],
  ['private', ranges(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fec0::/10'])],
  ['link_local', ranges(['169.254.0.0/16', 'fe80::/10'])],
  ['shared', ranges(['100.64.0.0/10'])],
  ['multicast', ranges(['224.0.0.0/4', 'ff00::/8'])],
  ['special_use', ranges([
    '0.0.0.0/8', '192.0.0.0/24', '192.0.2.0/24', '192.31.196.0/24', '192.52.193.0/24', '192.88.99.0/24', '192.175.48.0/24', '198.18.0.0/15',
    '198.51.100.0/24', '203.0.113.0/24', '240.0.0.0/4',
    '2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20',
  ])],
]
/** All that IANA has allotted as global unicast; the rest of IPv6 is refused whatever it may become. */
const GLOBAL_UNICAST_V6 = ranges(['2000::/3'])

/** IPv6 ranges that carry an IPv4 address, and where it lies: mapped, compatible, translated, NAT64, 6to4. */
const EMBEDDING: readonly [IpRange, bigint][] = [
  ...ranges(['::ffff:0:0/96', '::/96', '::ffff:0:0:0/96', '64:ff9b::/96']).map((range): [IpRange, bigint] => [range, 0n]),
  ...ranges(['2002::/16']).map((range): [IpRange, bigint] => [range, 80n]),
]

function ranges(texts: readonly string[]): IpRange[] {
  return texts.map((text) => {
    const range = parseRange(text)
    if (range === null) throw new RangeError(`not a range: ${text}`)
    return range
  })
}

/**
 * What kind of address this is; only `public` may be reached. An IPv6 address that carries an IPv4 one is never public, and
 * has the class of what it carries (so a mapped metadata address is `metadata`).
 */
export function classifyAddress(address: IpAddress): AddressClass {
  if (METADATA.some((range) => inRange(address, range))) return 'metadata'
  for (const [kind, list] of REFUSED) if (kind === 'loopback' && list.some((range) => inRange(address, range))) return kind
  for (const [range, shift] of EMBEDDING) {
    if (!inRange(address, range)) continue
    const carried = classifyAddress({ family: 4, value: (address.value >> shift) & 0xffff_ffffn })
    return carried === 'public' ? 'special_use' : carried
  }
  for (const [kind, list] of REFUSED) if (list.some((range) => inRange(address, range))) return kind
  if (address.family === 6 && !GLOBAL_UNICAST_V6.some((range) => inRange(address, range))) return 'special_use'
  return 'public'
}
