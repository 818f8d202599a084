import { scoreRound } from './scoring.js'

const COLUMNS = ['player', 'round', 'bid', 'tricks', 'bonus', 'score', 'total']

/** The finished game as CSV (RFC 4180): a line of column names, then a row for each player and round. */
export function exportCsv({ players, phase, finished }) {
  if (phase !== 'over') throw new Error('Only a finished game can be exported.')
  const rows = players.flatMap((player, index) => {
    let total = 0
    return finished.map(({ bids, tricks, bonuses }, round) => {
      const entry = { bid: bids[index], tricks: tricks[index], bonus: bonuses[index] }
      const score = scoreRound({ ...entry, cards: round + 1 })
      total += score
      return [player, round + 1, entry.bid, entry.tricks, entry.bonus, score, total]
    })
  })
  return [COLUMNS, ...rows].map((row) => `${row.map(field).join(',')}\r\n`).join('')
}

/** A field is quoted when it holds a comma, a quote or a line break; quotes in it are doubled. */
function field(value) {
  const text = String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
