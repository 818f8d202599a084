import { h } from './dom.js'

/**
 * Places of the players by their totals, best first. Equal totals share a place, and the next one counts all before it: 1, 2, 2, 4.
 * @returns {{ player: number, total: number, place: number }[]} player: index into `totals`
 */
export function rank(totals) {
  return totals
    .map((total, player) => ({ player, total, place: 1 + totals.filter((other) => other > total).length }))
    .sort((one, two) => one.place - two.place || one.player - two.player)
}

/** "Player A wins." or "Player A and Player B win." */
export function winnersText(players, totals) {
  const winners = rank(totals).filter(({ place }) => place === 1).map(({ player }) => players[player])
  if (winners.length === 1) return `${winners[0]} wins.`
  return `${winners.slice(0, -1).join(', ')} and ${winners.at(-1)} win.`
}

export function rankingView(players, totals) {
  return h('div', { class: 'ranking' },
    h('h2', { id: 'ranking-title' }, 'Ranking'),
    h('p', {}, winnersText(players, totals)),
    h('table', {},
      h('thead', {}, h('tr', {}, ['Place', 'Player', 'Total'].map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, rank(totals).map(({ player, total, place }) => h('tr', {}, h('td', {}, place), h('th', { scope: 'row' }, players[player]), h('td', {}, total)))),
    ),
  )
}
