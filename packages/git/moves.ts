import { parseHunks, type Hunk } from '@swarm/core/review/positions.ts'
import { readEntries } from './diff.ts'
import { git, type GitOptions } from './run.ts'

/** What became of a file between two commits: its new path (null: it is gone) and both contents. */
export interface FileMove { readonly path: string | null; readonly oldId: string; readonly newId: string }

/**
 * Every file of `from` that is another one in `to`, by its old path, renames followed; what is not in it has not changed.
 * Errors: `unknown_revision`.
 */
export async function fileMoves(repoPath: string, from: string, to: string, options: GitOptions = {}): Promise<ReadonlyMap<string, FileMove>> {
  const entries = await readEntries(repoPath, from, to, options)
  // A copy leaves its source as it was, and what is added was not there before.
  return new Map(entries.filter(({ status }) => !/^[AC]/.test(status)).map((entry) => [entry.oldPath, { path: entry.status.startsWith('D') ? null : entry.path, oldId: entry.oldId, newId: entry.newId }]))
}

/** What was changed between two texts, without context; null when git sees no texts in them. */
export async function hunksBetween(repoPath: string, oldId: string, newId: string, options: GitOptions = {}): Promise<readonly Hunk[] | null> {
  if (oldId === newId) return []
  const { stdout } = await git(repoPath, ['diff', '-U0', '--no-color', '--no-ext-diff', '--no-textconv', oldId, newId], options)
  const hunks = parseHunks(stdout)
  return hunks.length === 0 ? null : hunks
}
