import { randomBytes } from 'node:crypto'
import { createAdapterFactory, type CustomAdapter } from 'better-auth/adapters'
import { sql, type Kysely, type ReferenceExpression, type SqlBool, type Expression, type ExpressionBuilder } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { Trx } from '../../db/unit.ts'
import { hashToken } from '../../http/tokens.ts'

/*
 * better-auth's storage over our database: every write is a unit of ours, so that the one writer of SQLite and the events of each
 * change hold for it too. Models are tables, fields columns; times are ms. Tokens are hashed on their way in: what signs somebody in is in
 * no table. Tokens of accounts elsewhere are dropped: nothing here calls GitHub after somebody has signed in.
 */

const TABLES: Readonly<Record<string, string>> = { user: 'users', session: 'user_sessions', account: 'user_credentials', verification: 'verifications', twoFactor: 'two_factors', deviceCode: 'device_codes' }
/** Columns that hold the hash of what the field is. */
const HASHED: Readonly<Record<string, string>> = { 'session.token': 'token_hash', 'deviceCode.deviceCode': 'device_code' }
const DROPPED = new Set(['account.accessToken', 'account.refreshToken', 'account.idToken'])
/** Columns that better-auth does not know. */
const DEFAULTS: Readonly<Record<string, (now: number) => Record<string, unknown>>> = { user: () => ({ super_admin: 0, disabled_at: null }), session: (now) => ({ seen_at: now }) }

type Row = Record<string, unknown>
type Tables = Record<string, Row>
type Where = Parameters<CustomAdapter['findOne']>[0]['where']

/** What happens in the unit of a write of better-auth: events, and what belongs to a new user. */
export interface StorageReactions {
  created(trx: Trx, model: string, row: Row): Promise<void>
  deleted(trx: Trx, model: string, rows: readonly Row[]): Promise<void>
}

const snake = (field: string): string => field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
const camel = (column: string): string => column.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
const isTime = (field: string): boolean => /(At|Until)$/.test(field)
const columnOf = (model: string, field: string): string => HASHED[`${model}.${field}`] ?? snake(field)

function toColumn(model: string, field: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((each) => toColumn(model, field, each))
  if (DROPPED.has(`${model}.${field}`)) return null
  if (HASHED[`${model}.${field}`] !== undefined && typeof value === 'string') return hashToken(value)
  if (value instanceof Date) return value.getTime()
  if (typeof value === 'boolean') return value ? 1 : 0
  return value
}

const toRow = (model: string, data: Row): Row => Object.fromEntries(Object.entries(data).filter(([, value]) => value !== undefined).map(([field, value]) => [columnOf(model, field), toColumn(model, field, value)]))

/** @param known what was searched for: a hash cannot be read back */
function fromRow<T>(model: string, row: Row, known: Row = {}): T {
  const fields = Object.entries(row).map(([column, value]) => {
    const field = camel(column)
    return [field, isTime(field) && typeof value === 'number' ? new Date(value) : value]
  })
  const hashed = Object.keys(HASHED).filter((path) => path.startsWith(`${model}.`)).map((path) => path.slice(model.length + 1))
  return { ...Object.fromEntries(fields), ...Object.fromEntries(hashed.map((field) => [field, known[field] ?? ''])) } as T
}

const OPERATORS: Readonly<Record<string, '=' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in'>> = { eq: '=', ne: '!=', lt: '<', lte: '<=', gt: '>', gte: '>=', in: 'in', not_in: 'not in' }

function matching(model: string, where: Where): (eb: ExpressionBuilder<Tables, string>) => Expression<SqlBool> {
  return (eb) => {
    const one = (clause: Where[number]): Expression<SqlBool> => {
      const operator = OPERATORS[clause.operator]
      if (operator === undefined) throw new TypeError(`the storage of accounts has no operator ${clause.operator}`)
      const column = columnOf(model, clause.field) as ReferenceExpression<Tables, string>
      const value = toColumn(model, clause.field, clause.value)
      if (value === null) return eb(column, operator === '!=' ? 'is not' : 'is', null)
      return eb(column, operator, value as never)
    }
    const all = where.filter(({ connector }) => connector !== 'OR').map(one)
    const some = where.filter(({ connector }) => connector === 'OR').map(one)
    return eb.and([...all, ...(some.length > 0 ? [eb.or(some)] : [])])
  }
}

const searched = (where: Where): Row => Object.fromEntries(where.filter(({ operator }) => operator === 'eq').map(({ field, value }) => [field, value]))

function tableOf(model: string): string {
  const table = TABLES[model]
  if (table === undefined) throw new TypeError(`the storage of accounts has no model ${model}`)
  return table
}

/** The `database` option of better-auth. */
export function accountStorage(db: Database, reactions: StorageReactions) {
  const over = (connection: unknown): Kysely<Tables> => connection as Kysely<Tables>
  const read = over(db.read)

  async function remove(model: string, where: Where, limit?: number): Promise<Row[]> {
    return db.write(async (trx) => {
      const table = tableOf(model)
      const kysely = over(trx)
      let query = kysely.deleteFrom(table).where(matching(model, where))
      if (limit !== undefined) query = query.where('id', 'in', kysely.selectFrom(table).select('id').where(matching(model, where)).limit(limit))
      const rows = await query.returningAll().execute()
      await reactions.deleted(trx, model, rows)
      return rows
    })
  }

  const adapter: CustomAdapter = {
    async create({ model, data }) {
      const fields: Row = model === 'session' ? { ...data, token: `swarm_session_${randomBytes(32).toString('base64url')}` } : data
      const row = { ...toRow(model, fields), ...DEFAULTS[model]?.(Date.now()) }
      await db.write(async (trx) => {
        await over(trx).insertInto(tableOf(model)).values(row).execute()
        await reactions.created(trx, model, row)
      })
      return fromRow(model, row, fields)
    },
    async update<T>({ model, where, update }: { model: string; where: Where; update: T }) {
      const changed = await db.write((trx) => over(trx).updateTable(tableOf(model)).set(toRow(model, update as Row)).where(matching(model, where)).returningAll().executeTakeFirst())
      return changed === undefined ? null : fromRow<T>(model, changed, searched(where))
    },
    async updateMany({ model, where, update }) {
      const { numUpdatedRows } = await db.write((trx) => over(trx).updateTable(tableOf(model)).set(toRow(model, update)).where(matching(model, where)).executeTakeFirstOrThrow())
      return Number(numUpdatedRows)
    },
    async findOne<T>({ model, where }: { model: string; where: Where }) {
      const row = await read.selectFrom(tableOf(model)).selectAll().where(matching(model, where)).executeTakeFirst()
      return row === undefined ? null : fromRow<T>(model, row, searched(where))
    },
    async findMany<T>({ model, where, limit, offset, sortBy }: { model: string; where?: Where | undefined; limit: number; offset?: number | undefined; sortBy?: { field: string; direction: 'asc' | 'desc' } | undefined }) {
      let query = read.selectFrom(tableOf(model)).selectAll().where(matching(model, where ?? [])).limit(limit)
      if (sortBy) query = query.orderBy(columnOf(model, sortBy.field), sortBy.direction)
      if (offset !== undefined && offset > 0) query = query.offset(offset)
      return (await query.execute()).map((row) => fromRow<T>(model, row))
    },
    async delete({ model, where }) { await remove(model, where) },
    async deleteMany({ model, where }) { return (await remove(model, where)).length },
    // One row goes to one caller: of two who redeem the same code at once, the second gets none.
    async consumeOne<T>({ model, where }: { model: string; where: Where }) {
      const [row] = await remove(model, where, 1)
      return row === undefined ? null : fromRow<T>(model, row, searched(where))
    },
    async incrementOne<T>({ model, where, increment, set }: { model: string; where: Where; increment: Record<string, number>; set?: Record<string, unknown> | undefined }) {
      const raised = Object.entries(increment).map(([field, by]) => [columnOf(model, field), sql`coalesce(${sql.ref(columnOf(model, field))}, 0) + ${by}`])
      const changed = await db.write(async (trx) => {
        const table = tableOf(model)
        const kysely = over(trx)
        return kysely.updateTable(table).set({ ...Object.fromEntries(raised), ...toRow(model, set ?? {}) }).where(matching(model, where))
          .where('id', 'in', kysely.selectFrom(table).select('id').where(matching(model, where)).limit(1)).returningAll().executeTakeFirst()
      })
      return changed === undefined ? null : fromRow<T>(model, changed, searched(where))
    },
    async count({ model, where }) {
      const row = await read.selectFrom(tableOf(model)).select((eb) => eb.fn.countAll().as('count')).where(matching(model, where ?? [])).executeTakeFirstOrThrow()
      return Number(row.count)
    },
  }
  return createAdapterFactory({
    config: { adapterId: 'swarm', adapterName: 'Swarm', supportsDates: true, supportsBooleans: false, supportsJSON: false, supportsArrays: false, transaction: false },
    adapter: () => adapter,
  })
}
