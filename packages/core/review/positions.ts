/*
 * Where lines of a file are in a later version of it, by the hunks of a diff without context (`-U0`). Lines count from 1,
 * ranges include both ends.
 */
export interface LineRange { readonly startLine: number; readonly line: number }
/** `newLines` in place of `oldLines` from `oldStart` on; with no old lines they come after line `oldStart`. */
export interface Hunk { readonly oldStart: number; readonly oldLines: number; readonly newLines: number }

/** The hunks of a unified diff of one file, in order. */
export function parseHunks(diff: string): Hunk[] {
  return [...diff.matchAll(/^@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@/gm)].map(([, start, old, added]) => ({ oldStart: Number(start), oldLines: Number(old ?? 1), newLines: Number(added ?? 1) }))
}

/** Where these lines are after the hunks, or null when one of them was changed, taken away, or parted from its neighbour. */
export function movedLines(hunks: readonly Hunk[], { startLine, line }: LineRange): LineRange | null {
  let shift = 0
  for (const { oldStart, oldLines, newLines } of hunks) {
    // An insertion stands between two lines: after `oldStart`, before the next.
    const first = oldLines === 0 ? oldStart + 1 : oldStart
    const last = oldLines === 0 ? oldStart : oldStart + oldLines - 1
    if (first > line) break
    if (last >= startLine) return null
    shift += newLines - oldLines
  }
  return { startLine: startLine + shift, line: line + shift }
}
