import { randomUUID } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import Sqlite from 'better-sqlite3'
import { MIGRATIONS } from './migrations/index.ts'

const KEPT_BACKUPS = 10

/**
 * Copies a SQLite database, while open, to `<home>/backups/swarm-<time>-before-<migration>.sqlite` and keeps the last ten.
 * @returns the path of the copy
 */
export async function backupSqlite(file: Sqlite.Database, home: string, beforeMigration: string): Promise<string> {
  const folder = join(home, 'backups')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const time = new Date().toISOString().replaceAll(/[-:]/g, '').replace('.', '-')
  const path = join(folder, `swarm-${time}-before-${beforeMigration}.sqlite`)
  await file.backup(path)
  chmodSync(path, 0o600)
  const backups = readdirSync(folder).filter((name) => /^swarm-.*\.sqlite$/.test(name)).sort()
  for (const name of backups.slice(0, -KEPT_BACKUPS)) rmSync(join(folder, name))
  return path
}

/**
 * Copies the database at `path` as it is at one moment, however much is written meanwhile by other processes: one statement, one
 * read transaction, no writer waits. (The pages of the online backup are copied anew whenever another process writes.)
 */
export function snapshotSqlite(path: string, target: string): void {
  const file = new Sqlite(path, { readonly: true, timeout: 5_000 })
  try {
    file.prepare('vacuum into ?').run(target)
  } finally {
    file.close()
  }
  chmodSync(target, 0o600)
}

export interface Snapshot {
  readonly migrations: string[]
  /** Rows per table. */
  readonly counts: Record<string, number>
  /** `mains`: commits that the database names as values of the default branch: merged ones, candidates, imported heads. */
  readonly repositories: readonly { readonly projectSlug: string; readonly slug: string; readonly defaultBranch: string; readonly mains: ReadonlySet<string> }[]
}

/** What a snapshot holds, as far as files outside of it are concerned. */
export function readSnapshot(path: string): Snapshot {
  const file = new Sqlite(path, { readonly: true })
  try {
    const column = (sql: string, ...values: string[]): string[] => file.prepare(sql).pluck().all(...values) as string[]
    const tables = column('select name from sqlite_master where type = \'table\' and name not like \'sqlite_%\' and name not like \'kysely_%\' order by name')
    // Before the domain had its tables there is nothing that it could name.
    const rows = !tables.includes('repositories') ? [] : file.prepare('select r.id, p.slug as projectSlug, r.slug, r.default_branch as defaultBranch from repositories r join projects p on p.id = r.project_id order by p.slug, r.slug').all() as
      { id: string; projectSlug: string; slug: string; defaultBranch: string }[]
    return {
      migrations: column('select name from kysely_migration order by name'),
      counts: Object.fromEntries(tables.map((table) => [table, file.prepare(`select count(*) from "${table}"`).pluck().get() as number])),
      repositories: rows.map(({ id, ...row }) => ({
        ...row,
        mains: new Set([...(tables.includes('merge_batches') ? column('select head_sha from merge_batches where repository_id = ?', id) : []), ...column(`select merged_sha from changes where repository_id = ? and merged_sha is not null
          union select candidate_sha from merge_entries where repository_id = ? and candidate_sha is not null
          union select json_extract(data, '$.head') from events where type = 'repository:imported' and subject_id = ?`, id, id, id)]),
      })),
    }
  } finally {
    file.close()
  }
}

/** Looks whether a copy of ours may be used. @throws DomainError `backup_invalid` for a damaged one, `database_newer` for one of a newer Swarm */
export function requireSound(path: string, backupFile: string): void {
  const file = new Sqlite(path)
  try {
    // One file, without companions; the server sets it to what it wants.
    file.pragma('journal_mode = delete')
    const problem = (file.pragma('integrity_check', { simple: true }) as string)
    if (problem !== 'ok') throw new DomainError('backup_invalid', { file: backupFile, problem: `its database is damaged: ${problem}` })
    const applied = file.prepare('select name from kysely_migration order by name').pluck().all() as string[]
    const unknown = applied.find((name) => !Object.hasOwn(MIGRATIONS, name))
    if (unknown !== undefined) throw new DomainError('database_newer', { found: applied.at(-1), known: Object.keys(MIGRATIONS).sort().at(-1) })
  } catch (error) {
    if (error instanceof Sqlite.SqliteError) throw new DomainError('backup_invalid', { file: backupFile, problem: `its database cannot be read: ${error.message}` }, { cause: error })
    throw error
  } finally {
    file.close()
  }
}

/** Makes positions in the event log that were given out before invalid: readers load the current state and follow anew. */
export function renewEpoch(path: string): void {
  const file = new Sqlite(path)
  try {
    file.prepare('update meta set value = ? where key = \'epoch\'').run(randomUUID())
  } finally {
    file.close()
  }
}
