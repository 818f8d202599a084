import type { Kysely } from 'kysely'
import type { Migration } from 'kysely/migration'
import type { Dialect } from './dialect.ts'
import type { Schema } from './schema.ts'
import type { Trx } from './unit.ts'
import type { Wake } from './wake.ts'

export type Read = Kysely<Schema>

/** The open database; closed by `await using`, after the units in its queue. */
export interface Database extends AsyncDisposable {
  readonly dialect: Dialect
  /** For questions. On SQLite a read-only connection of its own, which sees what is committed. */
  readonly read: Read
  /**
   * Runs one unit of writing: all of it is committed, durably, when the promise resolves, or none of it when it rejects.
   * Inside `fn` await `trx` alone: no network, no files, no timers, no `db.read`. On PostgreSQL `fn` runs again after a
   * serialization failure, a deadlock, or a key that another unit took meanwhile, so it must have no effect but its queries, `afterCommit` and `signal`.
   */
  write<T>(fn: (trx: Trx) => Promise<T>): Promise<T>
  readonly wake: Wake
  /** Names of the migrations that are in the database, oldest first. */
  migrations(): Promise<string[]>
}

/** What a unit that ran too long did: `yielded` says that it awaited something other than its trx (told apart on SQLite only). */
export interface SlowUnit { readonly durationMs: number, readonly yielded: boolean }

export interface DatabaseOptions {
  /** SWARM_HOME: the SQLite file is `<home>/swarm.sqlite`, backups go to `<home>/backups`. */
  readonly home: string
  /** postgres://… ; SQLite unless given. */
  readonly databaseUrl?: string | undefined
  /** Connections of the PostgreSQL pool. */
  readonly poolSize?: number
  /** A unit is slow above this (ms); 50 unless given. */
  readonly slowUnitMs?: number
  readonly onSlowUnit?: (unit: SlowUnit) => void
  /** Tests: a slow unit, or one that awaited something else than its trx, fails and is rolled back. */
  readonly strictUnits?: boolean
  /** Instead of the shipped ones (tests of migrating itself). */
  readonly migrations?: Record<string, Migration>
  readonly onError?: (error: unknown, what: string) => void
}
