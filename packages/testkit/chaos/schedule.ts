import { createRandom } from './random.ts'

/*
 * What is broken when: a pure function of seed, length and lease. Kinds are dealt from a shuffled deck, so that a short run
 * meets nearly every kind and a long one each of them in proportion to its weight.
 */

/** What a fault hits, and so where its recovery is looked for. */
export type Area = 'runner' | 'server' | 'guest' | 'runner link' | 'model link' | 'disk' | 'model' | 'people'

interface Kind {
  readonly area: Area
  /** Cards in the deck. */
  readonly weight: number
  /** How long the fault lasts, ms, between these; in lease lengths where `ofLease`. */
  readonly lasts?: readonly [number, number]
  readonly ofLease?: boolean
  /** Until the next one of its track, ms, from its end: what was hit must come up again, or nothing is ever done. */
  readonly restMs: number
  /** Faults of one track come one after another, since they would hide each other's effect; its area unless given. */
  readonly track?: 'spine'
}

/** What all work hangs on: one after another, so that there is work for the other faults to hit. */
const SPINE = { restMs: 4_000, track: 'spine' } as const

export const FAULT_KINDS = {
  'runner-kill': { area: 'runner', weight: 2, ...SPINE },
  'runner-stop-short': { area: 'runner', weight: 1, lasts: [0.2, 0.6], ofLease: true, ...SPINE },
  'runner-stop-long': { area: 'runner', weight: 1, lasts: [1.3, 1.8], ofLease: true, ...SPINE },
  'server-kill': { area: 'server', weight: 2, ...SPINE },
  'server-stop-short': { area: 'server', weight: 1, lasts: [0.2, 0.6], ofLease: true, ...SPINE },
  'server-stop-long': { area: 'server', weight: 1, lasts: [1.3, 1.8], ofLease: true, ...SPINE },
  'vm-kill': { area: 'guest', weight: 2, restMs: 1_500 },
  'vm-stop': { area: 'guest', weight: 1, lasts: [500, 6_000], restMs: 1_500 },
  'guest-kill': { area: 'guest', weight: 2, restMs: 1_500 },
  'link-cut': { area: 'runner link', weight: 3, restMs: 1_000 },
  'link-delay': { area: 'runner link', weight: 1, lasts: [1_000, 3_000], restMs: 1_000 },
  'link-stall': { area: 'runner link', weight: 1, lasts: [1_000, 6_000], ...SPINE },
  'link-refuse': { area: 'runner link', weight: 1, lasts: [500, 3_000], ...SPINE },
  'model-link-cut': { area: 'model link', weight: 2, restMs: 1_000 },
  'model-link-delay': { area: 'model link', weight: 1, lasts: [1_000, 3_000], restMs: 1_000 },
  'model-link-stall': { area: 'model link', weight: 1, lasts: [1_000, 4_000], restMs: 1_000 },
  'model-link-refuse': { area: 'model link', weight: 1, lasts: [500, 3_000], restMs: 1_000 },
  'disk-full': { area: 'disk', weight: 1, lasts: [1_000, 3_000], ...SPINE },
  'model-429': { area: 'model', weight: 2, restMs: 500 },
  'model-529': { area: 'model', weight: 2, restMs: 500 },
  'model-500': { area: 'model', weight: 1, restMs: 500 },
  'model-garbage': { area: 'model', weight: 1, restMs: 500 },
  'model-malformed': { area: 'model', weight: 1, restMs: 500 },
  'model-cut': { area: 'model', weight: 2, restMs: 500 },
  'model-silence': { area: 'model', weight: 1, lasts: [1_000, 4_000], restMs: 500 },
  'race-decisions': { area: 'people', weight: 3, restMs: 0 },
  'race-stale-hash': { area: 'people', weight: 3, restMs: 0 },
  'race-hold-retry': { area: 'people', weight: 3, restMs: 0 },
  'race-cancel': { area: 'people', weight: 1, restMs: 0 },
  'race-stale-fence': { area: 'people', weight: 3, restMs: 0 },
  'race-repeat': { area: 'people', weight: 2, restMs: 0 },
  'foreign-push': { area: 'people', weight: 2, restMs: 500 },
} as const satisfies Record<string, Kind>
export type FaultKind = keyof typeof FAULT_KINDS
export const FAULT_KIND_NAMES = Object.keys(FAULT_KINDS) as FaultKind[]

export interface Fault {
  readonly index: number
  readonly kind: FaultKind
  /** From the start of the injection. */
  readonly atMs: number
  /** How long it lasts; 0: a moment. */
  readonly forMs: number
  /** Which of the things that it may hit: this modulo their number at the time, in their order. */
  readonly target: number
}

/** Between two faults, ms. */
const GAP_MS = [200, 1_000] as const

export function trackOf(kind: FaultKind): string {
  const { track, area } = FAULT_KINDS[kind] as Kind
  return track ?? area
}

/** @param kinds those that this machine and driver can do */
export function scheduleFaults(options: { seed: number; seconds: number; leaseTtlMs: number; kinds?: readonly FaultKind[] }): Fault[] {
  const random = createRandom(options.seed, 'faults')
  const cards = FAULT_KIND_NAMES.filter((kind) => options.kinds?.includes(kind) ?? true).flatMap((kind) => Array.from({ length: FAULT_KINDS[kind].weight }, () => kind))
  if (cards.length === 0) return []
  const faults: Fault[] = []
  const freeAt = new Map<string, number>()
  let deck: FaultKind[] = []
  for (let atMs = random.between(...GAP_MS); atMs < options.seconds * 1_000; atMs += random.between(...GAP_MS)) {
    const free = (kind: FaultKind): boolean => (freeAt.get(trackOf(kind)) ?? 0) <= atMs
    if (!deck.some(free)) deck = [...deck, ...random.shuffled(cards)]
    const place = deck.findIndex(free)
    if (place === -1) continue
    const [kind] = deck.splice(place, 1) as [FaultKind]
    const { lasts, ofLease, restMs } = FAULT_KINDS[kind] as Kind
    const [least, most] = (lasts ?? [0, 0]).map((length) => Math.round(length * (ofLease === true ? options.leaseTtlMs : 1))) as [number, number]
    const forMs = random.between(least, most)
    freeAt.set(trackOf(kind), atMs + forMs + restMs)
    faults.push({ index: faults.length, kind, atMs, forMs, target: random.below(2 ** 31) })
  }
  return faults
}
