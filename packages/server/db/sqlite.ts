import { chmodSync, mkdirSync } from 'node:fs'
import { AsyncResource } from 'node:async_hooks'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { Kysely, SqliteAdapter, SqliteDriver, SqliteIntrospector, SqliteQueryCompiler, type Dialect, type SqliteDatabase } from 'kysely'
import type { Database, DatabaseOptions } from './database.ts'
import type { Schema } from './schema.ts'
import { refuseNesting, runUnit, type StartedUnit, type Trx } from './unit.ts'
import { createWake } from './wake.ts'
import { appliedMigrations, migrateDatabase } from './migrate.ts'
import { backupSqlite } from './backup.ts'

/** Units per transaction; the commit's fsync is shared by them (2 ms fsync: 350 units/s alone, 4,486/s in groups). */
const UNITS_PER_COMMIT = 64
const CACHED_STATEMENTS = 500

class TransactionalDdlAdapter extends SqliteAdapter {
  // SQLite does have transactional DDL; Kysely says no to be careful with old versions. A migration is all or nothing here.
  override get supportsTransactionalDdl(): boolean { return true }
}

/** Kysely prepares each query anew; compiling is most of the cost of a small one. A statement in use (iterating) is not shared. */
function withStatementCache(file: Sqlite.Database): SqliteDatabase {
  const cache = new Map<string, Sqlite.Statement>()
  return {
    close: () => { file.close() },
    prepare: (sql) => {
      const known = cache.get(sql)
      if (known && !known.busy) return known as ReturnType<SqliteDatabase['prepare']>
      const statement = file.prepare(sql)
      if (cache.size >= CACHED_STATEMENTS) cache.clear()
      cache.set(sql, statement)
      return statement as ReturnType<SqliteDatabase['prepare']>
    },
  }
}

function dialectOver(file: Sqlite.Database): Dialect {
  return {
    createAdapter: () => new TransactionalDdlAdapter(),
    createDriver: () => new SqliteDriver({ database: withStatementCache(file) }),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}

interface Queued {
  run(): Promise<StartedUnit<unknown>>
  resolve(value: unknown): void
  reject(error: unknown): void
}

export async function openSqlite(options: DatabaseOptions): Promise<Database> {
  mkdirSync(options.home, { recursive: true, mode: 0o700 })
  const path = join(options.home, 'swarm.sqlite')
  const file = new Sqlite(path, { timeout: 5_000 })
  chmodSync(path, 0o600)
  file.pragma('journal_mode = WAL')
  file.pragma('synchronous = FULL')
  file.pragma('foreign_keys = ON')
  // REPLACE deletes rows without the triggers of events otherwise.
  file.pragma('recursive_triggers = ON')

  const writer = new Kysely<Schema>({ dialect: dialectOver(file) })
  try {
    await migrateDatabase(writer, (pending) => backupSqlite(file, options.home, pending), options.migrations)
  } catch (error) {
    file.close()
    throw error
  }

  const readFile = new Sqlite(path, { readonly: true, timeout: 5_000 })
  readFile.pragma('query_only = ON')
  const read = new Kysely<Schema>({ dialect: dialectOver(readFile) })
  const wake = createWake()

  const queue: Queued[] = []
  let closed = false
  let draining: Promise<void> | undefined

  async function drain(): Promise<void> {
    while (queue.length > 0) {
      // One turn of the loop: whatever was asked for meanwhile shares the commit, and sockets are served between commits.
      await new Promise((resolve) => { setImmediate(resolve) })
      await commitTogether(file, queue.splice(0, UNITS_PER_COMMIT))
    }
    draining = undefined
  }

  async function commitTogether(db: Sqlite.Database, batch: Queued[]): Promise<void> {
    const settle: (() => void)[] = []
    try {
      db.exec('begin immediate')
      for (const unit of batch) {
        db.exec('savepoint unit')
        try {
          const done = await unit.run()
          db.exec('release unit')
          settle.push(() => { unit.resolve(done.value); done.committed(wake) })
        } catch (error) {
          // Disk full and I/O errors undo the whole transaction, not the savepoint: then nobody's unit is done.
          if (!db.inTransaction) throw error
          db.exec('rollback to unit; release unit')
          settle.push(() => { unit.reject(error) })
        }
      }
      db.exec('commit')
    } catch (error) {
      if (db.inTransaction) db.exec('rollback')
      for (const unit of batch) unit.reject(error)
      return
    }
    for (const each of settle) each()
  }

  return {
    dialect: 'sqlite',
    read,
    wake,
    migrations: () => appliedMigrations(read),
    write: <T>(fn: (trx: Trx) => Promise<T>) => {
      refuseNesting()
      if (closed) return Promise.reject(new Error('the database is closed'))
      // The unit runs in the async context of its caller (correlation id, traces), not of whoever drains the queue.
      const run = AsyncResource.bind(() => watched(() => runUnit(writer, fn), options))
      return new Promise<T>((resolve, reject) => {
        queue.push({ run, resolve: (value) => resolve(value as T), reject })
        draining ??= AsyncResource.bind(drain)()
      })
    },
    [Symbol.asyncDispose]: async () => {
      closed = true
      await draining
      await read.destroy()
      await writer.destroy()
    },
  }
}

/** A unit that awaits only its trx never lets the event loop turn, since better-sqlite3 is synchronous: that tells them apart. */
async function watched<T>(run: () => Promise<T>, options: DatabaseOptions): Promise<T> {
  let yielded = false
  const turn = setImmediate(() => { yielded = true })
  const startedAt = performance.now()
  const cpuBefore = process.threadCpuUsage()
  const done = await run().finally(() => { clearImmediate(turn) })
  const durationMs = performance.now() - startedAt
  const cpu = process.threadCpuUsage(cpuBefore)
  const limit = options.slowUnitMs ?? 50
  if (durationMs > limit) options.onSlowUnit?.({ durationMs, yielded })
  // Strict looks at the processor's time, since a busy machine's wall clock would fail innocent units.
  if (options.strictUnits && (yielded || (cpu.user + cpu.system) / 1000 > limit)) {
    throw new Error(yielded ? 'a unit awaited something other than its trx' : `a unit took ${Math.round(durationMs)} ms; the limit is ${limit} ms`)
  }
  return done
}
