export const ROUNDS = 10

// ... the rest of the rules is unchanged ...

/** Takes the last entry of the current phase back. */
export function undo(game) {
  const list = { bids: 'bids', tricks: 'tricks', scores: 'bonuses' }[game.phase]
  return { ...game, [list]: game[list].slice(0, -1) }
}
