import { movedLines, type LineRange } from '@swarm/core/review/positions.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { readTextAt } from '@swarm/git/diff.ts'
import { fileMoves, hunksBetween } from '@swarm/git/moves.ts'
import { keep } from '../../keep.ts'
import type { ChangeRow, CommentRow } from './queries.ts'

/** Characters of the commented lines that are kept with a comment. */
const MAX_QUOTED = 2_000
const RELATIVE = /^\.\.?(?:\/|$)|\n/

export interface CommentPlace extends LineRange { readonly path: string }

/** Where lines are, by git. Commits never change, so what was found out once is kept. */
export function createPlaces() {
  const moves = keep((repository: string, from: string, to: string) => fileMoves(repository, from, to), (...given) => given.join('\0'))
  const hunks = keep((repository: string, oldId: string, newId: string) => hunksBetween(repository, oldId, newId), (...given) => given.join('\0'), 1024)
  return {
    /** These lines of a text file in a commit, the beginning of many; null when there are no such lines. */
    async quote(repository: string, commit: string, { path, startLine, line }: CommentPlace): Promise<string | null> {
      // To git these are relative to a work tree, which there is not.
      if (RELATIVE.test(path)) return null
      const text = await readTextAt(repository, commit, path)
      if (text === null) return null
      const lines = text.split('\n')
      if (lines.at(-1) === '') lines.pop()
      return line > lines.length || startLine > line ? null : lines.slice(startLine - 1, line).join('\n').slice(0, MAX_QUOTED)
    },
    /** Where the lines of a comment are in its change as it is now; null when they are not there as they were. */
    async now(repository: string, comment: CommentRow, change: Pick<ChangeRow, 'base_sha' | 'head_sha'>): Promise<CommentPlace | null> {
      const { path, start_line: startLine, line } = comment
      const [from, to] = comment.side === 'old' ? [comment.base_sha, change.base_sha] : [comment.head_sha, change.head_sha]
      if (from === to) return { path, startLine, line }
      try {
        const move = (await moves(repository, from, to)).get(path)
        if (!move) return { path, startLine, line }
        if (move.path === null) return null
        const changed = await hunks(repository, move.oldId, move.newId)
        const moved = changed && movedLines(changed, { startLine, line })
        return moved && { path: move.path, ...moved }
      } catch (error) {
        // The commit that it was made on is gone (retention): nobody can say any more.
        if (error instanceof DomainError && error.code === 'unknown_revision') return null
        throw error
      }
    },
  }
}
export type Places = ReturnType<typeof createPlaces>
