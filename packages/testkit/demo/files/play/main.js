import { exportCsv } from '../export.js'
import { totals } from '../scoring.js'
import { clearGame, loadGame, saveGame } from '../storage.js'
import { createAnnouncer } from './announce.js'
import { createApp } from './app.js'
import { mount } from './dom.js'
import { rankingView } from './ranking.js'
import { screenView } from './screens.js'

const screen = document.getElementById('screen')
const ranking = document.getElementById('ranking')

createApp({
  load: () => loadGame(localStorage),
  save: (game) => saveGame(localStorage, game),
  clear: () => clearGame(localStorage),
  announce: createAnnouncer(document.getElementById('announcements')),
  draw(state, actions) {
    mount(screen, screenView(state, actions))
    ranking.hidden = state.game?.phase !== 'over'
    if (!ranking.hidden) mount(ranking, rankingView(state.game.players, totals(state.game.players, state.game.finished)))
    // What had the focus is gone: whoever works by keyboard goes on at the first field or button.
    screen.querySelector('input, button')?.focus()
  },
  toCsv: exportCsv,
  download(name, text) {
    const link = document.createElement('a')
    link.href = URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' }))
    link.download = name
    link.click()
    URL.revokeObjectURL(link.href)
  },
})
