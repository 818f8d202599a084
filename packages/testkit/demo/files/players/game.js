export const ROUNDS = 10
export const MIN_PLAYERS = 2
export const MAX_PLAYERS = 8
export const MAX_NAME_LENGTH = 20

/** Something that the rules do not allow; the message says why, and the game is as it was. */
export class RuleError extends Error {
  constructor(message) {
    super(message)
    this.name = 'RuleError'
  }
}

/**
 * A game is plain data and never changed: each function gives a new one.
 *
 * players: their names, in the order of the table
 * round: 1 to 10; it deals as many cards to each player
 * phase: 'bids', 'tricks' or 'scores' of that round, or 'over'
 * bids, tricks, bonuses: entries of the running round, in the order of the players
 * finished: for each finished round { bids, tricks, bonuses }
 */
export function startGame(names) {
  const players = names.map((name) => String(name).trim())
  if (players.length < MIN_PLAYERS) throw new RuleError(`A game needs at least ${MIN_PLAYERS} players.`)
  if (players.length > MAX_PLAYERS) throw new RuleError(`A game has at most ${MAX_PLAYERS} players.`)
  const taken = new Set()
  players.forEach((name, index) => {
    if (name === '') throw new RuleError(`Player ${index + 1} has no name.`)
    if ([...name].length > MAX_NAME_LENGTH) throw new RuleError(`"${name}" is longer than ${MAX_NAME_LENGTH} characters.`)
    const folded = name.toLowerCase()
    if (taken.has(folded)) throw new RuleError(`Two players are called "${name}".`)
    taken.add(folded)
  })
  return { players, round: 1, phase: 'bids', bids: [], tricks: [], bonuses: [], finished: [] }
}
