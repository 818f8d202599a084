/**
 * Points of one player in one round, the only place that knows the rules of scoring.
 * @param {{ bid: number, tricks: number, cards: number, bonus?: number }} entry cards: dealt to each player in that round
 */
export function scoreRound({ bid, tricks, cards, bonus = 0 }) {
  if (bid === 0) return tricks === 0 ? 10 * cards : -10 * cards
  if (bid === tricks) return 20 * tricks + bonus
  return -10 * Math.abs(tricks - bid)
}
