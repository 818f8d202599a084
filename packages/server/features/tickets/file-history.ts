import { expectFiles, pairsOf, sureFiles } from '@swarm/core/tickets/predicted-files.ts'
import type { CoChange, ExpectedFiles } from '@swarm/core/tickets/predicted-files.ts'
import type { Kysely } from 'kysely'
import type { Schema } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import type { TicketRow } from './queries.ts'

type Db = Kysely<Schema>
/** Paths asked for in one query. */
const BATCH = 200

/** What a row says that its ticket will write; a plain list, as earlier versions wrote it, is sure. */
export function storedFiles(row: Pick<TicketRow, 'predicted_files'>): ExpectedFiles {
  const stored = JSON.parse(row.predicted_files) as string[] | Record<string, number>
  return Array.isArray(stored) ? Object.fromEntries(stored.map((path) => [path, 1])) : stored
}

/** What history says about these files of a repository. */
async function coChanges(db: Db, repositoryId: string, paths: readonly string[]): Promise<CoChange[]> {
  const found: CoChange[] = []
  for (let from = 0; from < paths.length; from += BATCH) {
    const rows = await db.selectFrom('file_pairs').innerJoin('file_pairs as whole', (join) => join
      .onRef('whole.repository_id', '=', 'file_pairs.repository_id').onRef('whole.path', '=', 'file_pairs.path').onRef('whole.other_path', '=', 'file_pairs.path'))
      .select(['file_pairs.path', 'file_pairs.other_path as other', 'file_pairs.together', 'whole.together as changes'])
      .where('file_pairs.repository_id', '=', repositoryId).where('file_pairs.path', 'in', paths.slice(from, from + BATCH)).whereRef('file_pairs.other_path', '!=', 'file_pairs.path')
      .execute()
    found.push(...rows)
  }
  return found
}

/** The files that each of these tickets is expected to write, by ticket: as stored, with what history knows by now. */
export async function expectedFiles(db: Db, tickets: readonly Pick<TicketRow, 'id' | 'repository_id' | 'predicted_files'>[]): Promise<Map<string, ExpectedFiles>> {
  const sure = new Map(tickets.map((ticket) => [ticket.id, sureFiles(storedFiles(ticket))]))
  const history = new Map<string, CoChange[]>()
  for (const repositoryId of new Set(tickets.map((ticket) => ticket.repository_id))) {
    const paths = new Set(tickets.flatMap((ticket) => ticket.repository_id === repositoryId ? sure.get(ticket.id)! : []))
    if (paths.size > 0) history.set(repositoryId, await coChanges(db, repositoryId, [...paths]))
  }
  return new Map(tickets.map((ticket) => [ticket.id, expectFiles(sure.get(ticket.id)!, history.get(ticket.repository_id) ?? [])]))
}

/** Counts a change that reached main. On PostgreSQL two changes that teach the same pairs take turns, in the order of the paths. */
export async function learnFrom(trx: Trx, repositoryId: string, paths: readonly string[]): Promise<void> {
  const pairs = pairsOf(paths)
  if (pairs.length === 0) return
  await trx.insertInto('file_pairs').values(pairs.map(([path, other]) => ({ repository_id: repositoryId, path, other_path: other, together: 1 })))
    .onConflict((conflict) => conflict.columns(['repository_id', 'path', 'other_path']).doUpdateSet((eb) => ({ together: eb('file_pairs.together', '+', 1) }))).execute()
}
