import type { ProxyCounts, TcpProxy, Weather } from '../tcp-proxy.ts'
import { lasting, seen, type Inject, type Site } from './site.ts'

type Link = 'runnerLink' | 'modelLink'

/** Every open connection is reset; seen when the peer has come again. */
const cut = (link: Link): Inject => async (_fault, { installation, signal }) => {
  const proxy = installation[link]
  const reset = await seen(() => (proxy.open() > 0 ? proxy.cut() : null), { signal, withinMs: 5_000 })
  if (reset === null || reset === 0) return null
  const { accepted } = proxy.counts
  return await seen(() => (proxy.counts.accepted > accepted ? { at: Date.now() } : null), { signal })
}

/** Bad weather for a while; seen when it was met. */
const weather = (link: Link, sky: (target: number) => Weather, count: keyof ProxyCounts): Inject => async (fault, site) => {
  const proxy = site.installation[link]
  const before = proxy.counts[count]
  using _fair = during(proxy, sky(fault.target))
  const [observed] = await Promise.all([met(proxy, count, before, fault.forMs, site), lasting(fault.forMs, site.signal)])
  return observed
}

function during(proxy: TcpProxy, sky: Weather): Disposable {
  proxy.set(sky)
  return { [Symbol.dispose]: () => { proxy.set({ kind: 'fair' }) } }
}

async function met(proxy: TcpProxy, count: keyof ProxyCounts, before: number, withinMs: number, { signal }: Site): Promise<{ at: number } | null> {
  return await seen(() => (proxy.counts[count] > before ? { at: Date.now() } : null), { signal, withinMs })
}

const late = (target: number): Weather => ({ kind: 'delay', ms: 100 + target % 600 })
const stalled = (): Weather => ({ kind: 'stall' })
const refusing = (): Weather => ({ kind: 'refuse' })

export const LINK_FAULTS = {
  'link-cut': cut('runnerLink'), 'link-delay': weather('runnerLink', late, 'delayed'), 'link-stall': weather('runnerLink', stalled, 'held'), 'link-refuse': weather('runnerLink', refusing, 'refused'),
  'model-link-cut': cut('modelLink'), 'model-link-delay': weather('modelLink', late, 'delayed'), 'model-link-stall': weather('modelLink', stalled, 'held'), 'model-link-refuse': weather('modelLink', refusing, 'refused'),
} satisfies Record<string, Inject>
