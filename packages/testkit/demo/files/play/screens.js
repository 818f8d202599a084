import { canReopen, MAX_NAME_LENGTH, MAX_PLAYERS, MIN_PLAYERS, ROUNDS } from '../game.js'
import { h } from './dom.js'
import { tableView } from './table.js'

const TITLES = { bids: 'Bids', tricks: 'Tricks', scores: 'Bonus points' }
const LISTS = { bids: 'bids', tricks: 'tricks', scores: 'bonuses' }

/** The screen for a state: plain data. */
export function screenView({ game, message }, actions) {
  return h('div', {},
    message === null ? null : h('p', { class: 'message', role: 'alert' }, message),
    game === null ? setupView(actions) : gameView(game, actions),
  )
}

function setupView(actions) {
  const fields = Array.from({ length: MAX_PLAYERS }, (_, index) => `player-${index + 1}`)
  return h('form', { onsubmit: submitting(fields, (names) => actions.start(names.filter((name) => name.trim() !== ''))) },
    h('h2', {}, 'Players'),
    fields.map((name, index) => h('p', { class: 'field' },
      h('label', { for: name }, `Player ${index + 1}`),
      h('input', { id: name, name, maxlength: MAX_NAME_LENGTH, autocomplete: 'off', required: index < MIN_PLAYERS }),
    )),
    h('button', { type: 'submit' }, 'Start the game'),
  )
}

function gameView(game, actions) {
  return h('div', {},
    game.phase === 'over' ? overView(actions) : phaseView(game, actions),
    canReopen(game) ? button(`Reopen round ${game.finished.length}`, actions.reopen) : null,
    game.finished.length > 0 ? tableView(game) : null,
  )
}

function overView(actions) {
  return h('div', { class: 'actions' }, button('Export as CSV', actions.export), button('New game', actions.leave))
}

function phaseView(game, actions) {
  const entered = game[LISTS[game.phase]]
  const waiting = game.players.slice(entered.length)
  const fields = waiting.map((_, index) => `entry-${entered.length + index}`)
  return h('div', {},
    h('h2', {}, `Round ${game.round} of ${ROUNDS}: ${TITLES[game.phase]}`),
    h('dl', {}, entered.map((value, index) => h('div', {}, h('dt', {}, game.players[index]), h('dd', {}, value)))),
    waiting.length === 0 ? null : h('form', { novalidate: true, onsubmit: submitting(fields, (values) => actions.enter(values.map(toNumber))) },
      fields.map((name, index) => h('p', { class: 'field' },
        h('label', { for: name }, waiting[index]),
        h('input', { id: name, name, type: 'number', inputmode: 'numeric', min: 0, max: game.phase === 'scores' ? null : game.round, step: 1, value: game.phase === 'scores' ? 0 : null }),
      )),
      h('button', { type: 'submit' }, 'Enter'),
    ),
    h('div', { class: 'actions' },
      entered.length > 0 ? button('Undo the last entry', actions.undo) : null,
      waiting.length === 0 ? button(game.phase === 'scores' ? 'Finish the round' : 'Go on', actions.next) : null,
    ),
  )
}

const button = (text, act) => h('button', { type: 'button', onclick: () => act() }, text)

/** An empty field is no number: the rules say so to the person. */
const toNumber = (text) => (text.trim() === '' ? Number.NaN : Number(text))

function submitting(fields, act) {
  return (event) => {
    event.preventDefault()
    act(fields.map((name) => event.target.elements[name].value))
  }
}
