import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import type { Database, DatabaseOptions } from './database.ts'
import { isRetryable } from './dialect.ts'
import { appliedMigrations, migrateDatabase } from './migrate.ts'
import { createNotifier } from './notify.ts'
import type { Schema } from './schema.ts'
import { refuseNesting, runUnit, type Trx } from './unit.ts'
import { createWake } from './wake.ts'

const TRIES = 6
const INT8 = 20
const NUMERIC = 1700

/** bigint columns and sums as numbers, as SQLite gives them; beyond 2^53 it throws rather than rounds. */
function toNumber(text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) throw new RangeError(`${text} from the database does not fit a number`)
  return value
}

/** Numbers come as numbers, whoever opens the connection. */
export const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') => oid === INT8 || oid === NUMERIC
    ? toNumber
    : pg.types.getTypeParser(oid, format as 'text')) as pg.CustomTypesConfig['getTypeParser'],
}

export async function openPostgres(options: DatabaseOptions & { databaseUrl: string }): Promise<Database> {
  const onError = options.onError ?? (() => undefined)
  const connection = {
    connectionString: options.databaseUrl, types, application_name: 'swarm',
    // An idle transaction holds the horizon of every event reader back.
    idle_in_transaction_session_timeout: 10_000,
    connectionTimeoutMillis: 5_000,
  }
  const pool = new pg.Pool({ ...connection, max: options.poolSize ?? 20 })
  // Without a listener the loss of an idle connection would end the process; the pool itself replaces it.
  pool.on('error', (error) => onError(error, 'an idle PostgreSQL connection was lost'))
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  try {
    await migrateDatabase(db, async () => undefined, options.migrations)
    await renewEpochAfterImport(db)
  } catch (error) {
    await db.destroy()
    throw error
  }
  const wake = createWake()
  const notifier = await createNotifier(connection, pool, wake, onError)
  let closed = false
  const open = new Set<Promise<unknown>>()

  async function attempt<T>(fn: (trx: Trx) => Promise<T>): Promise<T> {
    const startedAt = performance.now()
    const unit = await db.transaction().execute((transaction) => runUnit(transaction, fn))
    const durationMs = performance.now() - startedAt
    if (durationMs > (options.slowUnitMs ?? 50)) options.onSlowUnit?.({ durationMs, yielded: false })
    unit.committed(wake)
    notifier.notify(unit.topics)
    return unit.value
  }

  async function write<T>(fn: (trx: Trx) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await attempt(fn)
      } catch (error) {
        if (!isRetryable(error) || tries >= TRIES) throw error
        await delay(Math.random() * 5 * 2 ** tries)
      }
    }
  }

  return {
    dialect: 'postgres',
    read: db,
    wake,
    migrations: () => appliedMigrations(db),
    write: (fn) => {
      refuseNesting()
      if (closed) return Promise.reject(new Error('the database is closed'))
      const promise = write(fn)
      const settled = promise.then(() => undefined, () => undefined).finally(() => open.delete(settled))
      open.add(settled)
      return promise
    },
    [Symbol.asyncDispose]: async () => {
      closed = true
      await Promise.all(open)
      await notifier[Symbol.asyncDispose]()
      await db.destroy()
    },
  }
}

/**
 * Transaction ids mean something in one cluster only. A database that was dumped and loaded elsewhere keeps its events,
 * all committed, in seq order below every new one, and gets a new epoch, which makes old cursors invalid.
 */
async function renewEpochAfterImport(db: Kysely<Schema>): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const { rows: [here] } = await sql<{ id: string }>`select system_identifier::text as id from pg_control_system()`.execute(trx)
    const known = await trx.selectFrom('meta').select('value').where('key', '=', 'cluster').forUpdate().executeTakeFirst()
    if (here === undefined || known?.value === here.id) return
    await sql`alter table events disable trigger events_append_only`.execute(trx)
    await sql`update events set xid = '3'::xid8`.execute(trx)
    await sql`alter table events enable trigger events_append_only`.execute(trx)
    await trx.updateTable('meta').set({ value: here.id }).where('key', '=', 'cluster').execute()
    await trx.updateTable('meta').set({ value: randomUUID() }).where('key', '=', 'epoch').execute()
  })
}
