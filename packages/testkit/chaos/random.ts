/** Numbers that are a function of the seed alone: the schedule of faults and the fleet are drawn from them. */
export interface Random {
  /** In [0, 1). */
  next(): number
  /** Whole, in [0, below). */
  below(limit: number): number
  /** Whole, in [least, most]. */
  between(least: number, most: number): number
  pick<T>(from: readonly T[]): T
  /** A new order; the argument stays as it is. */
  shuffled<T>(from: readonly T[]): T[]
}

/** mulberry32 (Tommy Ettinger, public domain): 32 bits of state are plenty for some thousand draws. `name` makes independent streams of one seed. */
export function createRandom(seed: number, name = ''): Random {
  let state = [...name].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193), seed ^ 0x811c9dc5) >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  return {
    next, below,
    between: (least, most) => least + below(most - least + 1),
    pick: (from) => {
      if (from.length === 0) throw new RangeError('there is nothing to pick from')
      return from[below(from.length)]!
    },
    shuffled: (from) => {
      const cards = [...from]
      for (let last = cards.length - 1; last > 0; last--) {
        const other = below(last + 1)
        ;[cards[last], cards[other]] = [cards[other]!, cards[last]!]
      }
      return cards
    },
  }
}
