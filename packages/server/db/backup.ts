import { chmodSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type Sqlite from 'better-sqlite3'

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
