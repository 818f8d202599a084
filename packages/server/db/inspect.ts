import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import Sqlite from 'better-sqlite3'
import { Kysely, PostgresDialect, SqliteDialect } from 'kysely'
import pg from 'pg'
import type { Read } from './database.ts'
import { appliedMigrations } from './migrate.ts'
import { MIGRATIONS } from './migrations/index.ts'
import { types } from './postgres.ts'
import type { Schema } from './schema.ts'

/**
 * Reads a database as it is at one moment, whoever else writes to it meanwhile; changes nothing, and migrates nothing.
 * @throws DomainError `database_missing`, `database_newer`, `database_older`
 */
export async function inspectDatabase<T>(options: { home: string; databaseUrl?: string | undefined }, read: (db: Read) => Promise<T>): Promise<T> {
  return options.databaseUrl === undefined ? inspectSqlite(join(options.home, 'swarm.sqlite'), read) : inspectPostgres(options.databaseUrl, read)
}

async function inspectSqlite<T>(path: string, read: (db: Read) => Promise<T>): Promise<T> {
  if (!existsSync(path)) throw new DomainError('database_missing', { path })
  const file = new Sqlite(path, { readonly: true, timeout: 5_000 })
  const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: file }) })
  try {
    // From its first read on, a transaction sees one state.
    file.exec('begin')
    await assertKnown(db)
    return await read(db)
  } finally {
    if (file.inTransaction) file.exec('rollback')
    await db.destroy()
  }
}

async function inspectPostgres<T>(url: string, read: (db: Read) => Promise<T>): Promise<T> {
  const pool = new pg.Pool({ connectionString: url, types, application_name: 'swarm check', max: 1, connectionTimeoutMillis: 5_000 })
  // Its one connection is used at once; a loss of it fails the query that uses it.
  pool.on('error', () => undefined)
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  try {
    return await db.transaction().setIsolationLevel('repeatable read').setAccessMode('read only').execute(async (trx) => {
      await assertKnown(trx)
      return await read(trx)
    })
  } finally {
    await db.destroy()
  }
}

async function assertKnown(db: Read): Promise<void> {
  const applied = await appliedMigrations(db)
  const known = Object.keys(MIGRATIONS).toSorted()
  if (applied.some((name) => !known.includes(name))) throw new DomainError('database_newer', { found: applied.at(-1), known: known.at(-1) })
  const missing = known.find((name) => !applied.includes(name))
  if (missing !== undefined) throw new DomainError('database_older', { found: applied.at(-1) ?? 'nothing', known: known.at(-1) })
}
