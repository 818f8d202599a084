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
  return { players, round: 1, phase: 'bids', bids: players.map(() => null), tricks: [], bonuses: [], finished: [] }
}

/** What the entries of each phase are called, and where they are kept. */
const ENTRIES = { bids: 'bid', tricks: 'number of tricks', scores: 'bonus' }
const LISTS = { bids: 'bids', tricks: 'tricks', scores: 'bonuses' }

/** The next player's bid: a whole number from 0 to the number of the round. */
export function enterBid(game, bid) {
  return enter(game, 'bids', bid, game.round)
}

/** The next player's tricks; together they cannot be more than the round has. */
export function enterTricks(game, tricks) {
  const next = enter(game, 'tricks', tricks, game.round)
  const taken = sum(next.tricks)
  if (taken > game.round) throw new RuleError(`Round ${game.round} has ${game.round} tricks, and these would be ${taken}.`)
  return next
}

/** The next player's bonus points; who has none entered gets none. */
export function enterBonus(game, points) {
  return enter(game, 'scores', points, Number.MAX_SAFE_INTEGER)
}

function enter(game, phase, value, most) {
  if (game.phase !== phase) throw new RuleError(`A ${ENTRIES[phase]} can only be entered in the phase "${phase}"; this is "${game.phase}".`)
  const entries = game[LISTS[phase]].filter((entry) => entry !== null)
  if (entries.length === game.players.length) throw new RuleError(`Every player has a ${ENTRIES[phase]} already.`)
  if (!Number.isInteger(value) || value < 0 || value > most) {
    const range = most === Number.MAX_SAFE_INTEGER ? 'from 0' : `from 0 to ${most}`
    throw new RuleError(`The ${ENTRIES[phase]} of ${game.players[entries.length]} must be a whole number ${range}.`)
  }
  return { ...game, [LISTS[phase]]: [...entries, value] }
}

/** Ends the phase: bids, then tricks, then scores, then the bids of the next round; after round 10 the game is over. */
export function nextPhase(game) {
  const missing = (entries) => game.players.length - entries.length
  switch (game.phase) {
    case 'bids':
      if (missing(game.bids) > 0) throw new RuleError(`${missing(game.bids)} bids are missing: ${game.players.slice(game.bids.length).join(', ')}.`)
      return { ...game, phase: 'tricks' }
    case 'tricks':
      if (missing(game.tricks) > 0) throw new RuleError(`The tricks of ${game.players.slice(game.tricks.length).join(', ')} are missing.`)
      if (sum(game.tricks) !== game.round) throw new RuleError(`Round ${game.round} has ${game.round} tricks, and these are ${sum(game.tricks)}.`)
      return { ...game, phase: 'scores' }
    case 'scores': {
      const bonuses = game.players.map((_, index) => game.bonuses[index] ?? 0)
      const finished = [...game.finished, { bids: game.bids, tricks: game.tricks, bonuses }]
      const over = game.round === ROUNDS
      return { ...game, round: over ? ROUNDS : game.round + 1, phase: over ? 'over' : 'bids', bids: [], tricks: [], bonuses: [], finished }
    }
    default:
      throw new RuleError('The game is over.')
  }
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0)
}
