import type { BudgetUnit, CeilingKind } from '@swarm/core/budgets/reserve.ts'
import type { Kysely, Selectable } from 'kysely'
import { sql } from 'kysely'
import { dialectOf, forUpdate } from '../../db/dialect.ts'
import type { ModelCallsTable, Schema } from '../../db/schema.ts'

type Db = Kysely<Schema>
export type CallRow = Selectable<ModelCallsTable>

/**
 * An attempt with its ticket, as the gateway needs them to decide whether it may call. On PostgreSQL the attempt's row is
 * locked against its end, and many calls may hold it: no money is set aside for an attempt that ends in the same moment.
 */
export async function attemptForCall(db: Db, attemptId: string) {
  const query = db.selectFrom('attempts').innerJoin('tickets', 'tickets.id', 'attempts.ticket_id')
    .select(['attempts.id', 'attempts.state', 'attempts.fence', 'attempts.number', 'attempts.project_id', 'attempts.correlation_id', 'tickets.id as ticket_id', 'tickets.fence as ticket_fence', 'tickets.key', 'tickets.title', 'tickets.session_id'])
    .where('attempts.id', '=', attemptId)
  return (dialectOf(db) === 'postgres' ? query.forShare('attempts') : query).executeTakeFirst()
}

/** The session's ceiling, with its row locked on PostgreSQL, so that calls under one ceiling decide one after the other. */
export async function sessionCeiling(db: Db, sessionId: string): Promise<number | null | undefined> {
  const row = await forUpdate(db, db.selectFrom('design_sessions').select('max_cost_micro_usd').where('id', '=', sessionId)).executeTakeFirst()
  return row?.max_cost_micro_usd
}

/** The project's settings (JSON), with its row locked on PostgreSQL. */
export async function projectSettings(db: Db, projectId: string): Promise<string | undefined> {
  return (await forUpdate(db, db.selectFrom('projects').select('settings').where('id', '=', projectId)).executeTakeFirst())?.settings
}

export type StoredKind = CeilingKind | 'ticket_attempts'

/** Stored ceilings of these subjects. */
export async function storedCeilings(db: Db, subjects: readonly { kind: StoredKind; id: string }[]): Promise<{ kind: string; id: string; unit: string; cap: number }[]> {
  if (subjects.length === 0) return []
  const rows = await db.selectFrom('budget_ceilings').select(['kind', 'id', 'unit', 'cap'])
    .where((eb) => eb.or(subjects.map(({ kind, id }) => eb.and([eb('kind', '=', kind), eb('id', '=', id)])))).execute()
  return rows.map((row) => ({ ...row, cap: Number(row.cap) }))
}

/** Stores a ceiling in place of the one that is there. */
export async function putCeiling(db: Db, ceiling: { kind: StoredKind; id: string; unit: BudgetUnit; cap: number; now: number }): Promise<void> {
  const { now, ...row } = ceiling
  await db.insertInto('budget_ceilings').values({ ...row, updated_at: now }).onConflict((oc) => oc.columns(['kind', 'id', 'unit']).doUpdateSet({ cap: row.cap, updated_at: now })).execute()
}

/** Stores one unless there is one: an attempt's ceilings are fixed when it starts. */
export async function fixCeiling(db: Db, ceiling: { kind: StoredKind; id: string; unit: BudgetUnit; cap: number; now: number }): Promise<void> {
  const { now, ...row } = ceiling
  await db.insertInto('budget_ceilings').values({ ...row, updated_at: now }).onConflict((oc) => oc.columns(['kind', 'id', 'unit']).doNothing()).execute()
}

export async function removeCeiling(db: Db, ceiling: { kind: StoredKind; id: string; unit: BudgetUnit }): Promise<void> {
  await db.deleteFrom('budget_ceilings').where('kind', '=', ceiling.kind).where('id', '=', ceiling.id).where('unit', '=', ceiling.unit).execute()
}

/** False when people were told of this part of this value before. */
export async function markThreshold(db: Db, mark: { kind: CeilingKind; id: string; unit: BudgetUnit; cap: number; percent: number; at: number }): Promise<boolean> {
  const result = await db.insertInto('budget_thresholds').values(mark).onConflict((oc) => oc.columns(['kind', 'id', 'unit', 'cap', 'percent']).doNothing()).executeTakeFirst()
  return (result.numInsertedOrUpdatedRows ?? 0n) > 0n
}

const COLUMN = { attempt: 'attempt_id', ticket: 'ticket_id', session: 'session_id', project: 'project_id' } as const satisfies Record<CeilingKind, string>

/** Spent and set aside, in both units. */
export interface Spending { readonly micro_usd: { spent: number; reserved: number }; readonly tokens: { spent: number; reserved: number } }

const amounts = {
  spent: sql<number>`coalesce(sum(case when state = 'settled' then cost_micro_usd else 0 end), 0)`.as('spent'),
  reserved: sql<number>`coalesce(sum(case when state = 'open' then reserved_micro_usd else 0 end), 0)`.as('reserved'),
  spentTokens: sql<number>`coalesce(sum(case when state = 'settled' then tokens else 0 end), 0)`.as('spent_tokens'),
  reservedTokens: sql<number>`coalesce(sum(case when state = 'open' then reserved_tokens else 0 end), 0)`.as('reserved_tokens'),
}
const sums = [amounts.spent, amounts.reserved, amounts.spentTokens, amounts.reservedTokens] as const

function spendingOf(row: { spent: number; reserved: number; spent_tokens: number; reserved_tokens: number }): Spending {
  return { micro_usd: { spent: Number(row.spent), reserved: Number(row.reserved) }, tokens: { spent: Number(row.spent_tokens), reserved: Number(row.reserved_tokens) } }
}

/** What was spent and what is set aside under one attempt, ticket, session or project. */
export async function spending(db: Db, kind: CeilingKind, id: string): Promise<Spending> {
  return spendingOf(await db.selectFrom('model_calls').where(COLUMN[kind], '=', id).select(sums).executeTakeFirstOrThrow())
}

/** The same for every session or ticket of a project that made calls, by id. */
export async function spendingIn(db: Db, projectId: string, kind: 'session' | 'ticket'): Promise<Map<string, Spending>> {
  const column = COLUMN[kind]
  const rows = await db.selectFrom('model_calls').where('project_id', '=', projectId).where(column, 'is not', null).select([column, ...sums]).groupBy(column).execute()
  return new Map(rows.flatMap((row) => { const id = row[column]; return typeof id === 'string' ? [[id, spendingOf(row)] as const] : [] }))
}

export async function insertCall(db: Db, row: CallRow): Promise<void> {
  await db.insertInto('model_calls').values(row).execute()
}

/** The compare-and-set behind every settlement: false when the call was settled already. */
export async function settleCall(db: Db, id: string, patch: Partial<CallRow>): Promise<boolean> {
  const result = await db.updateTable('model_calls').set({ ...patch, state: 'settled' }).where('id', '=', id).where('state', '=', 'open').executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** Calls that no process has ended yet, oldest first. */
export async function openCalls(db: Db): Promise<CallRow[]> {
  return db.selectFrom('model_calls').selectAll().where('state', '=', 'open').orderBy('created_at').execute()
}

/** Whose calls were refused by this ceiling, ever: attempts, and sessions by their own steps. */
export async function stoppedAt(db: Db, ceiling: string): Promise<{ attemptIds: string[]; sessionIds: string[] }> {
  const rows = await db.selectFrom('model_calls').select(['attempt_id', 'session_id', 'ticket_id']).distinct().where('ceiling', '=', ceiling).execute()
  return { attemptIds: rows.flatMap((row) => row.attempt_id ?? []), sessionIds: rows.flatMap((row) => row.ticket_id === null && row.session_id !== null ? [row.session_id] : []) }
}

/** The newest call of an attempt. */
export async function lastCallOf(db: Db, attemptId: string): Promise<CallRow | undefined> {
  return db.selectFrom('model_calls').selectAll().where('attempt_id', '=', attemptId).orderBy('created_at', 'desc').orderBy('id', 'desc').limit(1).executeTakeFirst()
}

/** Raises a session's ceiling; false when it is no longer the one that was decided upon. */
export async function raiseSession(db: Db, sessionId: string, from: number, to: number): Promise<boolean> {
  const result = await db.updateTable('design_sessions').set({ max_cost_micro_usd: to }).where('id', '=', sessionId).where('max_cost_micro_usd', '=', from).executeTakeFirst()
  return result.numUpdatedRows === 1n
}

export async function setSessionCeiling(db: Db, sessionId: string, cap: number | null): Promise<void> {
  await db.updateTable('design_sessions').set({ max_cost_micro_usd: cap }).where('id', '=', sessionId).execute()
}

export async function sessionsOf(db: Db, projectId: string): Promise<{ id: string; title: string; max_cost_micro_usd: number | null }[]> {
  return db.selectFrom('design_sessions').select(['id', 'title', 'max_cost_micro_usd']).where('project_id', '=', projectId).orderBy('created_at').orderBy('id').execute()
}

export async function ticketsOf(db: Db, projectId: string): Promise<{ id: string; title: string }[]> {
  return db.selectFrom('tickets').select(['id', 'title']).where('project_id', '=', projectId).orderBy('created_at').orderBy('id').execute()
}

/** The project that a session or ticket belongs to. */
export async function placeOf(db: Db, kind: 'session' | 'ticket', id: string): Promise<string | undefined> {
  const row = kind === 'session' ? await db.selectFrom('design_sessions').select('project_id').where('id', '=', id).executeTakeFirst() : await db.selectFrom('tickets').select('project_id').where('id', '=', id).executeTakeFirst()
  return row?.project_id
}
