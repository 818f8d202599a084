import { DomainError } from '@swarm/core/errors.ts'
import type { Kysely } from 'kysely'
import { Migrator, type Migration } from 'kysely/migration'
import { MIGRATIONS } from './migrations/index.ts'
import type { Schema } from './schema.ts'

const TABLE = 'kysely_migration'

/** Names of the migrations in the database, oldest first; none for an empty one. */
export async function appliedMigrations(db: Kysely<Schema>): Promise<string[]> {
  const known = db as unknown as Kysely<Record<typeof TABLE, { name: string, timestamp: string }>>
  const tables = await known.introspection.getTables({ withInternalKyselyTables: true })
  if (!tables.some((table) => table.name === TABLE)) return []
  const rows = await known.selectFrom(TABLE).select('name').orderBy('name').execute()
  return rows.map((row) => row.name)
}

/**
 * Brings the database to the newest migration, each in a transaction of its own together with its mark; on PostgreSQL
 * under Kysely's advisory lock, so that replicas which start together migrate once.
 * @param backup called with the first pending migration's name before an existing database is changed
 * @throws DomainError `database_newer` when it holds a migration that this Swarm does not know
 */
export async function migrateDatabase(
  db: Kysely<Schema>, backup: (pending: string) => Promise<unknown>, migrations: Record<string, Migration> = MIGRATIONS,
): Promise<void> {
  const applied = await appliedMigrations(db)
  const known = Object.keys(migrations).sort()
  const unknown = applied.find((name) => !known.includes(name))
  if (unknown !== undefined) throw new DomainError('database_newer', { found: applied.at(-1), known: known.at(-1) })
  const pending = known.find((name) => !applied.includes(name))
  if (pending === undefined) return
  if (applied.length > 0) await backup(pending)
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } })
  const { error } = await migrator.migrateToLatest()
  if (error !== undefined) throw error
}
