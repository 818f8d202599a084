import { frequentPairs } from '@swarm/core/tickets/predicted-files.ts'
import type { Database } from '../../db/database.ts'
import type { Duty } from '../../coordinator/duty.ts'

/** Stands for a repository whose history was read; no file is named so. */
const MARKER = { path: '', other_path: '' }
/** Commits of the default branch that are looked at, newest first: what belonged together longer ago may not any more. */
const COMMITS = 500
const MOST_PAIRS = 2_000

/** Reads once, for each repository, which files its commits changed together before Swarm merged anything there. */
export function fileHistoryDuty(deps: { db: Database; readHistory(repositoryId: string, commits: number): Promise<string[][]> }): Duty {
  const unreadable = new Set<string>()
  return {
    name: 'file history',
    async run() {
      const next = (await deps.db.read.selectFrom('repositories').leftJoin('file_pairs', (join) => join
        .onRef('file_pairs.repository_id', '=', 'repositories.id').on('file_pairs.path', '=', MARKER.path).on('file_pairs.other_path', '=', MARKER.other_path))
        .select('repositories.id').where('file_pairs.repository_id', 'is', null).orderBy('repositories.id').execute()).find(({ id }) => !unreadable.has(id))
      if (!next) return false
      let commits: string[][]
      try {
        commits = await deps.readHistory(next.id, COMMITS)
      } catch (error) {
        // Prediction is a help and no more: until the next start this repository goes without.
        unreadable.add(next.id)
        throw error
      }
      const rows = frequentPairs(commits, MOST_PAIRS).map(({ path, other, together }) => ({ repository_id: next.id, path, other_path: other, together }))
      await deps.db.write(async (trx) => {
        const first = await trx.insertInto('file_pairs').values({ repository_id: next.id, ...MARKER, together: 0 }).onConflict((conflict) => conflict.doNothing()).executeTakeFirst()
        // Another replica was faster.
        if (first.numInsertedOrUpdatedRows !== 1n || rows.length === 0) return
        await trx.insertInto('file_pairs').values(rows)
          .onConflict((conflict) => conflict.columns(['repository_id', 'path', 'other_path']).doUpdateSet((eb) => ({ together: eb('file_pairs.together', '+', eb.ref('excluded.together')) }))).execute()
      })
      return true
    },
  }
}
