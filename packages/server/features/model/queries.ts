import type { Kysely, Selectable } from 'kysely'
import { sql } from 'kysely'
import { forUpdate } from '../../db/dialect.ts'
import type { ModelCallsTable, Schema } from '../../db/schema.ts'

type Db = Kysely<Schema>
export type CallRow = Selectable<ModelCallsTable>

/** An attempt with its ticket, as the gateway needs them to decide whether it may call. */
export async function attemptForCall(db: Db, attemptId: string) {
  return db.selectFrom('attempts').innerJoin('tickets', 'tickets.id', 'attempts.ticket_id')
    .select(['attempts.id', 'attempts.state', 'attempts.fence', 'attempts.number', 'attempts.project_id', 'attempts.correlation_id', 'tickets.id as ticket_id', 'tickets.fence as ticket_fence', 'tickets.key', 'tickets.title', 'tickets.session_id'])
    .where('attempts.id', '=', attemptId).executeTakeFirst()
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

/** What was spent and what is set aside under one session or project. */
export async function spending(db: Db, column: 'session_id' | 'project_id', id: string): Promise<{ spent: number; reserved: number }> {
  const row = await db.selectFrom('model_calls').where(column, '=', id)
    .select([
      sql<number>`coalesce(sum(case when state = 'settled' then cost_micro_usd else 0 end), 0)`.as('spent'),
      sql<number>`coalesce(sum(case when state = 'open' then reserved_micro_usd else 0 end), 0)`.as('reserved'),
    ]).executeTakeFirstOrThrow()
  return { spent: Number(row.spent), reserved: Number(row.reserved) }
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

/** Raises a session's ceiling; false when it is no longer the one that was decided upon. */
export async function raiseCeiling(db: Db, sessionId: string, from: number, to: number): Promise<boolean> {
  const result = await db.updateTable('design_sessions').set({ max_cost_micro_usd: to }).where('id', '=', sessionId).where('max_cost_micro_usd', '=', from).executeTakeFirst()
  return result.numUpdatedRows === 1n
}
