/** Version of what is stored; a change of the game's shape raises it. */
export const VERSION = 1
const KEY = 'skull-king'
const ASIDE = 'skull-king.aside.'

/** Stores the game under its version. `storage` is the browser's localStorage, or anything with its methods. */
export function saveGame(storage, game) {
  storage.setItem(KEY, JSON.stringify({ version: VERSION, game }))
}

/** Forgets the running game; what was kept aside stays. */
export function clearGame(storage) {
  storage.removeItem(KEY)
}

/**
 * The stored game, or null. What cannot be used is kept aside, each under a key of its own, and `problem` says so.
 * @returns {{ game: object | null, problem: string | null }}
 */
export function loadGame(storage) {
  const text = storage.getItem(KEY)
  if (text === null) return { game: null, problem: null }
  const reason = unusable(text)
  if (reason === null) return { game: JSON.parse(text).game, problem: null }
  const key = freeKey(storage)
  storage.setItem(key, text)
  storage.removeItem(KEY)
  return { game: null, problem: `The stored game ${reason}. It was kept as "${key}".` }
}

function unusable(text) {
  let stored
  try {
    stored = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return 'cannot be read'
    throw error
  }
  if (typeof stored !== 'object' || stored === null || !Number.isInteger(stored.version)) return 'cannot be read'
  if (stored.version > VERSION) return 'was made by a newer version of this page'
  const { game } = stored
  const lists = ['players', 'bids', 'tricks', 'bonuses', 'finished']
  if (typeof game !== 'object' || game === null || !lists.every((name) => Array.isArray(game[name]))) return 'cannot be read'
  return Number.isInteger(game.round) && typeof game.phase === 'string' ? null : 'cannot be read'
}

function freeKey(storage) {
  let number = 1
  while (storage.getItem(`${ASIDE}${number}`) !== null) number++
  return `${ASIDE}${number}`
}
