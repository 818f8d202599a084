import { scoreRounds } from '../scoring.js'
import { h } from './dom.js'

/** All finished rounds, newest last: bid, tricks, round score and total of every player. */
export function tableView({ players, finished }) {
  const rounds = scoreRounds(finished)
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Scores of all rounds' },
    h('table', { class: 'scores' },
      h('caption', {}, 'Scores'),
      h('thead', {}, h('tr', {}, ['Round', 'Player', 'Bid', 'Tricks', 'Score', 'Total'].map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, finished.flatMap(({ bids, tricks }, round) => players.map((player, index) => h('tr', {},
        h('td', {}, round + 1),
        h('th', { scope: 'row' }, player),
        [bids[index], tricks[index], rounds[round][index].score, rounds[round][index].total].map((value) => h('td', {}, value)),
      )))),
    ),
  )
}
