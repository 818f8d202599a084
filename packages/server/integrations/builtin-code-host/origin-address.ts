import { lookup } from 'node:dns/promises'
import { DomainError } from '@swarm/core/errors.ts'
import { classifyAddress, formatAddress, inRange, looksLikeAddress, parseAddress, parseRange } from '@swarm/core/net/addresses.ts'

export interface OriginRules {
  /** Exact hosts that may lead into a range that is not public; never to a metadata address. */
  readonly exemptions: readonly { readonly host: string; readonly cidr: string }[]
  /** Every address of a name. Throws when there is none. */
  readonly resolve: (host: string) => Promise<readonly string[]>
}

export const resolveHost: OriginRules['resolve'] = async (host) => (await lookup(host, { all: true })).map(({ address }) => address)

/** The host of an address that git may be given. */
export function hostOfOrigin(origin: string): string {
  const host = /^[^@/]+@([^:/]+):/.exec(origin)?.[1] ?? new URL(origin).hostname
  return host.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '').toLowerCase()
}

/**
 * Refuses a host that leads to anything but public addresses, unless an operator exempted it: one bad address refuses it. It is
 * advisory, since git resolves the name once more when it connects, and may be answered something else; what keeps it to one
 * host is that redirects are not followed. A name that cannot be resolved here is left to git, which may go through a proxy.
 * @throws DomainError origin_refused
 */
export async function requirePublicOrigin(origin: string, rules: OriginRules): Promise<void> {
  const host = hostOfOrigin(origin)
  const addresses = looksLikeAddress(host) ? [host] : await rules.resolve(host).catch(() => [])
  for (const text of addresses) {
    const address = parseAddress(text)
    const kind = address === null ? 'special_use' : classifyAddress(address)
    if (kind === 'public') continue
    const exempt = address !== null && kind !== 'metadata' && rules.exemptions.some((exemption) => {
      const range = parseRange(exemption.cidr)
      return exemption.host.toLowerCase() === host && range !== null && inRange(address, range)
    })
    if (!exempt) throw new DomainError('origin_refused', { host, address: address === null ? text : formatAddress(address), class: kind.replace('_', '-') })
  }
}
