export interface Line {
  /** Counted from 1 in its own version of the file. */
  readonly line: number
  readonly text: string
}

export interface LineDiff {
  readonly removed: readonly Line[]
  readonly added: readonly Line[]
}

/** The lines of a text; a newline at the end does not open another line. */
export function linesOf(text: string): string[] {
  if (text === '') return []
  const lines = text.split(/\r?\n/)
  if (lines.at(-1) === '') lines.pop()
  return lines
}

/** Beyond this many steps a region is called replaced as a whole: it bounds the work on hostile input. */
const MAX_EDITS = 1_500

/**
 * Which lines went and which came, as a reader of a diff would see them: common ends are cut off, lines that are unique
 * on both sides anchor the rest (patience), and Myers' greedy algorithm does what lies between.
 */
export function diffLines(before: readonly string[], after: readonly string[]): LineDiff {
  const removed: Line[] = []
  const added: Line[] = []
  const work: [number, number, number, number][] = [[0, before.length, 0, after.length]]
  while (work.length > 0) {
    let [a, aEnd, b, bEnd] = work.pop() as [number, number, number, number]
    while (a < aEnd && b < bEnd && before[a] === after[b]) {
      a++
      b++
    }
    while (a < aEnd && b < bEnd && before[aEnd - 1] === after[bEnd - 1]) {
      aEnd--
      bEnd--
    }
    if (a === aEnd || b === bEnd) {
      for (let i = a; i < aEnd; i++) removed.push({ line: i + 1, text: before[i] ?? '' })
      for (let i = b; i < bEnd; i++) added.push({ line: i + 1, text: after[i] ?? '' })
      continue
    }
    const anchors = anchorLines(before, after, a, aEnd, b, bEnd)
    if (anchors.length > 0) {
      let fromA = a
      let fromB = b
      for (const [x, y] of anchors) {
        work.push([fromA, x, fromB, y])
        fromA = x + 1
        fromB = y + 1
      }
      work.push([fromA, aEnd, fromB, bEnd])
    } else myers(before, after, a, aEnd, b, bEnd, removed, added)
  }
  const byLine = (x: Line, y: Line) => x.line - y.line
  return { removed: removed.sort(byLine), added: added.sort(byLine) }
}

/** Pairs of equal lines, each unique in its region on both sides, in ascending order on both (longest such run). */
function anchorLines(before: readonly string[], after: readonly string[], a: number, aEnd: number, b: number, bEnd: number): [number, number][] {
  const seen = new Map<string, { inA: number; inB: number; x: number; y: number }>()
  for (let x = a; x < aEnd; x++) {
    const entry = seen.get(before[x] ?? '')
    if (entry) entry.inA++
    else seen.set(before[x] ?? '', { inA: 1, inB: 0, x, y: -1 })
  }
  for (let y = b; y < bEnd; y++) {
    const entry = seen.get(after[y] ?? '')
    if (entry) {
      entry.inB++
      entry.y = y
    }
  }
  const pairs = [...seen.values()].filter((entry) => entry.inA === 1 && entry.inB === 1)
  // Longest increasing run of y over pairs that are in order of x: patience sorting with back pointers.
  const tops: number[] = []
  const previous: number[] = []
  for (const [i, pair] of pairs.entries()) {
    let low = 0
    let high = tops.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((pairs[tops[middle] as number] as { y: number }).y < pair.y) low = middle + 1
      else high = middle
    }
    previous[i] = low > 0 ? (tops[low - 1] as number) : -1
    tops[low] = i
  }
  const chosen: [number, number][] = []
  for (let i = tops.at(-1) ?? -1; i >= 0; i = previous[i] as number) {
    const pair = pairs[i] as { x: number; y: number }
    chosen.push([pair.x, pair.y])
  }
  return chosen.reverse()
}

function myers(before: readonly string[], after: readonly string[], a: number, aEnd: number, b: number, bEnd: number, removed: Line[], added: Line[]): void {
  const n = aEnd - a
  const m = bEnd - b
  const limit = Math.min(n + m, MAX_EDITS)
  const trace: Map<number, number>[] = []
  const furthest = new Map<number, number>([[1, 0]])
  for (let d = 0; d <= limit; d++) {
    trace.push(new Map(furthest))
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1))
      let x = down ? (furthest.get(k + 1) ?? 0) : (furthest.get(k - 1) ?? 0) + 1
      while (x < n && x - k < m && before[a + x] === after[b + x - k]) x++
      furthest.set(k, x)
      if (x >= n && x - k >= m) return walkBack(trace, d, n, m, before, after, a, b, removed, added)
    }
    if (d > 200 && d * d > 40_000_000 / Math.max(1, n + m)) break
  }
  for (let i = a; i < aEnd; i++) removed.push({ line: i + 1, text: before[i] ?? '' })
  for (let i = b; i < bEnd; i++) added.push({ line: i + 1, text: after[i] ?? '' })
}

function walkBack(trace: readonly Map<number, number>[], edits: number, n: number, m: number, before: readonly string[], after: readonly string[], a: number, b: number, removed: Line[], added: Line[]): void {
  let x = n
  let y = m
  for (let d = edits; d > 0; d--) {
    const furthest = trace[d] as Map<number, number>
    const k = x - y
    const down = k === -d || (k !== d && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1))
    const fromK = down ? k + 1 : k - 1
    const fromX = furthest.get(fromK) ?? 0
    const fromY = fromX - fromK
    if (down) added.push({ line: b + fromY + 1, text: after[b + fromY] ?? '' })
    else removed.push({ line: a + fromX + 1, text: before[a + fromX] ?? '' })
    x = fromX
    y = fromY
  }
}
