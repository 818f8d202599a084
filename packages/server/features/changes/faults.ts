/** First rest of an item after a fault, ms; doubled at each further one. */
const FIRST_REST_MS = 1_000
/** Faults of one item in a row until it is given up. */
const MOST_FAULTS = 5

/** Items of a duty that could not be dealt with: they rest, so that those behind them get their turn. */
export interface Faults {
  /** Items that are not to be tried now. */
  resting(): string[]
  /** Notes a fault. True when it was the last that this item may have: it is forgotten then, and the caller ends it. */
  exhausted(id: string): boolean
  /** The item was dealt with. */
  clear(id: string): void
  /** When the next item may be tried again, ms since the epoch, or null. */
  nextAt(): number | null
}

/**
 * Kept in memory by each replica: what one cannot deal with another may, and a restart is a reason to try again. Meant for
 * errors that nobody foresaw; what is foreseen has an outcome of its own.
 */
export function createFaults(now: () => number): Faults {
  const items = new Map<string, { count: number; restsUntil: number }>()
  return {
    resting: () => [...items].flatMap(([id, { restsUntil }]) => restsUntil > now() ? [id] : []),
    exhausted(id) {
      const count = (items.get(id)?.count ?? 0) + 1
      if (count >= MOST_FAULTS) return items.delete(id) || true
      items.set(id, { count, restsUntil: now() + FIRST_REST_MS * 2 ** (count - 1) })
      return false
    },
    clear: (id) => { items.delete(id) },
    nextAt() {
      const times = [...items.values()].map(({ restsUntil }) => restsUntil).filter((at) => at > now())
      return times.length === 0 ? null : Math.min(...times)
    },
  }
}
