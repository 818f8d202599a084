import { z } from 'zod'
import { DomainError } from '@swarm/core/errors.ts'
import { classifyAddress, formatAddress, inRange, parseAddress, parseRange, type IpRange } from '@swarm/core/net/addresses.ts'
import { isHostName } from '@swarm/core/net/host-name.ts'
import type { Target } from './request-target.ts'

/** How a port is spoken to: parsed as HTTP here, or tunnelled once the guest begins a TLS handshake. */
export type PortMode = 'http' | 'tls'

interface AllowRule {
  /** `suffix` matches names below it, not the suffix itself. */
  kind: 'exact' | 'suffix'
  name: string
  ports: ReadonlyMap<number, PortMode>
}

export interface EgressPolicy {
  rules: readonly AllowRule[]
  exemptions: readonly { host: string; range: IpRange }[]
}

/** One address range that an operator opens for one exact host; metadata addresses stay closed. */
export const EgressExemption = z.object({ host: z.string(), cidr: z.string() })
export type EgressExemption = z.infer<typeof EgressExemption>

/**
 * @param settings.allow exact hosts, `*.suffix`, or `preset:npm` (the registry that this host is set to, with its own port).
 * @param settings.ports of hosts on the list; 80 is spoken as HTTP, every other one must begin with TLS.
 * @param settings.npmRegistry asked once, only for the preset. @see npmRegistry
 * @throws DomainError config_invalid that names the entry.
 */
export async function compilePolicy(settings: { allow: readonly string[]; ports?: readonly number[]; exemptions?: readonly EgressExemption[]; npmRegistry: () => Promise<string> }): Promise<EgressPolicy> {
  const ports = new Map((settings.ports ?? [80, 443]).map((port): [number, PortMode] => [port, port === 80 ? 'http' : 'tls']))
  const rules: AllowRule[] = []
  for (const entry of settings.allow) {
    if (entry === 'preset:npm') rules.push(registryRule(await settings.npmRegistry()))
    else rules.push(hostRule(entry, ports))
  }
  const exemptions = (settings.exemptions ?? []).map(({ host, cidr }) => {
    const range = parseRange(cidr)
    if (range === null) throw invalid('egress.exemptions', `"${cidr}" is not an address range such as 10.1.2.0/24 (no bits may be set beyond the prefix)`)
    return { host: checkedName(host, 'egress.exemptions'), range }
  })
  return { rules, exemptions }
}

function hostRule(entry: string, ports: AllowRule['ports']): AllowRule {
  const suffix = entry.startsWith('*.')
  const name = checkedName(suffix ? entry.slice(2) : entry, 'egress.allow')
  if (suffix && !name.includes('.')) throw invalid('egress.allow', `"${entry}" would allow a whole top-level domain`)
  return { kind: suffix ? 'suffix' : 'exact', name, ports }
}

function registryRule(registry: string): AllowRule {
  const url = URL.parse(registry)
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) throw invalid('egress.allow', `preset:npm: the registry that npm is set to, "${registry}", is no http(s) address`)
  const mode = url.protocol === 'http:' ? 'http' : 'tls'
  return { kind: 'exact', name: checkedName(url.hostname, 'egress.allow'), ports: new Map([[url.port === '' ? (mode === 'http' ? 80 : 443) : Number(url.port), mode]]) }
}

function checkedName(name: string, field: string): string {
  const lower = name.toLowerCase()
  if (!isHostName(lower)) throw invalid(field, `"${name}" is not a host name (exact names and *.suffix are allowed, addresses are not)`)
  return lower
}

function invalid(field: string, problem: string): DomainError {
  return new DomainError('config_invalid', { field, problem, source: 'swarm.yml, the project or the runner' })
}

/** @throws DomainError egress_host_not_allowed, egress_port_refused. */
export function portModeOf(policy: EgressPolicy, target: Target): PortMode {
  const rules = policy.rules.filter((rule) => (rule.kind === 'exact' ? target.host === rule.name : target.host.endsWith(`.${rule.name}`)))
  if (rules.length === 0) throw new DomainError('egress_host_not_allowed', { host: target.host })
  for (const rule of rules) {
    const mode = rule.ports.get(target.port)
    if (mode !== undefined) return mode
  }
  throw new DomainError('egress_port_refused', { host: target.host, port: target.port, allowed: [...new Set(rules.flatMap((rule) => [...rule.ports.keys()]))].join(' or ') })
}

/**
 * Every address of the name must be public, or exempt for exactly this host: one bad address refuses the host, so that a name
 * with mixed answers cannot be tried until the bad one comes first.
 * @throws DomainError egress_address_refused.
 */
export function checkAddresses(policy: EgressPolicy, host: string, addresses: readonly string[]): void {
  for (const text of addresses) {
    const address = parseAddress(text)
    const kind = address === null ? 'special_use' : classifyAddress(address)
    if (kind === 'public') continue
    const exempt = address !== null && kind !== 'metadata' && policy.exemptions.some((exemption) => exemption.host === host && inRange(address, exemption.range))
    if (!exempt) throw new DomainError('egress_address_refused', { host, address: address === null ? text : formatAddress(address), class: kind.replace('_', '-') })
  }
}
