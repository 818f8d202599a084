import type { Kysely, SelectQueryBuilder } from 'kysely'
import { PostgresAdapter } from 'kysely'

/** The two databases that the same queries run on. */
export type Dialect = 'sqlite' | 'postgres'

/** Which database a Kysely instance (or a unit's `trx`) talks to. */
export function dialectOf(db: Pick<Kysely<unknown>, 'getExecutor'>): Dialect {
  return db.getExecutor().adapter instanceof PostgresAdapter ? 'postgres' : 'sqlite'
}

/**
 * `FOR UPDATE SKIP LOCKED` on PostgreSQL; nothing on SQLite, where a unit already holds the only write lock.
 * Use it in the sub-select that picks rows of a table used as a queue.
 */
export function forUpdateSkipLocked<DB, TB extends keyof DB, O>(
  db: Pick<Kysely<DB>, 'getExecutor'>, query: SelectQueryBuilder<DB, TB, O>,
): SelectQueryBuilder<DB, TB, O> {
  return dialectOf(db) === 'postgres' ? query.forUpdate().skipLocked() : query
}

/** `FOR UPDATE` on PostgreSQL, nothing on SQLite (see forUpdateSkipLocked). */
export function forUpdate<DB, TB extends keyof DB, O>(
  db: Pick<Kysely<DB>, 'getExecutor'>, query: SelectQueryBuilder<DB, TB, O>,
): SelectQueryBuilder<DB, TB, O> {
  return dialectOf(db) === 'postgres' ? query.forUpdate() : query
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/**
 * Serialization failure or deadlock: PostgreSQL undid the whole transaction, and asks that it be run again. Or a key that another
 * one took since this one looked whether it is free: run again, it sees that.
 */
export function isRetryable(error: unknown): boolean {
  return ['40001', '40P01', '23505'].includes(codeOf(error))
}
