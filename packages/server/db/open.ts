import type { Database, DatabaseOptions } from './database.ts'
import { openPostgres } from './postgres.ts'
import { openSqlite } from './sqlite.ts'

/**
 * Opens the database of the settings: PostgreSQL when `databaseUrl` is given, else `<home>/swarm.sqlite`; migrates it first
 * (an existing SQLite file is copied to `<home>/backups` before).
 * @throws DomainError `database_newer`
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const { databaseUrl } = options
  return databaseUrl === undefined ? openSqlite(options) : openPostgres({ ...options, databaseUrl })
}
