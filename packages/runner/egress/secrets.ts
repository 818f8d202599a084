import type { BoundSecret } from '@swarm/contract/runner-protocol.ts'
import { Secret } from '@swarm/core/secret.ts'
import { headerOf, headerValue, shownForms } from '@swarm/core/secrets/injection.ts'
import type { Authority } from './authority.ts'
import { createMask, type Mask } from './mask.ts'

/** A use is told once in so long, ms, for each secret of a piece of work. */
const USE_MS = 60_000

/** The secrets of one piece of work, as its egress proxies use them: in memory, for as long as the work lasts. */
export interface EgressSecrets {
  readonly authority: Authority
  /** Whether requests to this host get any. */
  has(host: string): boolean
  /** The headers of a request to this host: those of the guest with the secrets' in the place of any of the same name. */
  inject(host: string, headers: readonly string[]): string[]
  /** Masks what this host was sent. */
  mask(host: string): Mask
}

interface BoundHeader { readonly id: string; readonly header: string; readonly value: Secret; readonly shown: readonly Secret[] }

/** @param onUse hears which secret goes out with a request, now and then */
export function createEgressSecrets(secrets: readonly BoundSecret[], authority: Authority, onUse: (id: string) => void): EgressSecrets {
  const bound = new Map<string, BoundHeader[]>()
  for (const { id, hosts, injection, value } of secrets) {
    const header: BoundHeader = { id, header: headerOf(injection), value: new Secret(headerValue(injection, value)), shown: shownForms(injection, value).map((form) => new Secret(form)) }
    for (const host of hosts) bound.set(host, [...bound.get(host) ?? [], header])
  }
  const usedMs = new Map<string, number>()
  const used = (id: string): void => {
    const last = usedMs.get(id)
    if (last !== undefined && performance.now() - last < USE_MS) return
    usedMs.set(id, performance.now())
    onUse(id)
  }
  return {
    authority,
    has: (host) => bound.has(host),
    inject(host, headers) {
      const ours = bound.get(host) ?? []
      const names = new Set(ours.map(({ header }) => header))
      const kept: string[] = []
      for (let index = 0; index < headers.length; index += 2) {
        const name = headers[index] ?? ''
        if (!names.has(name.toLowerCase())) kept.push(name, headers[index + 1] ?? '')
      }
      for (const { id, header, value } of ours) {
        kept.push(header, value.reveal())
        used(id)
      }
      return kept
    },
    mask: (host) => createMask((bound.get(host) ?? []).flatMap(({ shown }) => shown.map((form) => form.reveal())).sort((a, b) => b.length - a.length)),
  }
}
