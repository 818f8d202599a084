import { enterBid, enterBonus, enterTricks, nextPhase, reopenRound, RuleError, startGame, undo } from '../game.js'

const ENTER = { bids: enterBid, tricks: enterTricks, scores: enterBonus }
const SAID = { bids: 'Enter the bids.', tricks: 'Enter the tricks.', scores: 'Enter bonus points.', over: 'The game is over.' }

/**
 * The page's state and what people can do with it. Everything outside is handed in: `draw(state, actions)` shows a state,
 * `load`, `save` and `clear` keep the game, `announce` speaks, `download(name, text)` saves a file.
 */
export function createApp({ load, save, clear, announce, draw, download, toCsv }) {
  const { game, problem } = load()
  let state = { game, message: problem }

  const show = (next) => {
    state = next
    draw(state, actions)
    if (state.message !== null) announce(state.message)
  }
  /** What the rules refuse becomes a message; what was done before it stays. */
  const attempt = (step) => {
    const before = state.game
    try {
      const after = step(before)
      save(after)
      show({ game: after, message: null })
      if (after.phase !== before?.phase || after.round !== before?.round) announce(after.phase === 'over' ? SAID.over : `Round ${after.round}. ${SAID[after.phase]}`)
    } catch (error) {
      if (!(error instanceof RuleError)) throw error
      show({ ...state, message: error.message })
    }
  }

  const actions = {
    start: (names) => attempt(() => startGame(names)),
    /** Enters values for the players that have none yet, up to the first that the rules refuse. */
    enter(values) {
      for (const value of values) {
        const before = state.game
        attempt((current) => ENTER[current.phase](current, value))
        if (state.game === before) return
      }
    },
    next: () => attempt(nextPhase),
    undo: () => attempt(undo),
    reopen: () => attempt(reopenRound),
    export: () => download('skull-king.csv', toCsv(state.game)),
    leave() {
      clear()
      show({ game: null, message: null })
    },
  }
  show(state)
  return { actions, state: () => state }
}
