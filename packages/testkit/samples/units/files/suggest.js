/** How many letters have to be put in, taken out or exchanged to make one word of the other. */
export function distance(one, two) {
  let row = Array.from({ length: two.length + 1 }, (_, index) => index)
  for (let i = 1; i <= one.length; i++) {
    const next = [i]
    for (let j = 1; j <= two.length; j++) {
      next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (one[i - 1] === two[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[two.length]
}

/** The known word nearest to `text`, at most two letters away; null if there is none. Of equally near ones the first. */
export function nearest(text, known) {
  let best = null
  let least = 3
  for (const word of known) {
    const letters = distance(text.toLowerCase(), word.toLowerCase())
    // A word that shares no letter with the text is no help.
    if (letters < least && letters < Math.max(text.length, word.length)) {
      best = word
      least = letters
    }
  }
  return best
}
