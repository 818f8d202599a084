/**
 * Points of one player in one round, the only place that knows the rules of scoring.
 * @param {{ bid: number, tricks: number, cards: number, bonus?: number }} entry cards: dealt to each player in that round
 */
export function roundScore({ bid, tricks, cards, bonus = 0 }) {
  if (bid === 0) return tricks === 0 ? 10 * cards : -10 * cards
  if (bid === tricks) return 20 * tricks + bonus
  return -10 * Math.abs(tricks - bid)
}

/**
 * Scores of all finished rounds: for each round, for each player, the round's score and the total so far.
 * @param {{ bids: number[], tricks: number[], bonuses: number[] }[]} finished the rounds of a game, from the first
 * @returns {{ score: number, total: number }[][]}
 */
export function scoreRounds(finished) {
  const totals = []
  return finished.map(({ bids, tricks, bonuses }, index) => bids.map((bid, player) => {
    const score = roundScore({ bid, tricks: tricks[player], cards: index + 1, bonus: bonuses[player] })
    totals[player] = (totals[player] ?? 0) + score
    return { score, total: totals[player] }
  }))
}

/** The players' totals after the last finished round. */
export function totals(players, finished) {
  return scoreRounds(finished).at(-1)?.map(({ total }) => total) ?? players.map(() => 0)
}
