import { notStarted, TERMINAL, type TicketState } from '@swarm/core/tickets/machine.ts'
import type { SessionState } from '@swarm/core/design/session.ts'
import type { Kysely, Selectable, Updateable } from 'kysely'
import { forUpdate } from '../../db/dialect.ts'
import { inProjects } from '../../db/projects.ts'
import type { ClarificationsTable, DesignSessionsTable, DesignStepsTable, Schema, SpecVersionsTable } from '../../db/schema.ts'

export type SessionRow = Selectable<DesignSessionsTable>
export type StepRow = Selectable<DesignStepsTable>
export type SpecVersionRow = Selectable<SpecVersionsTable>
export type ClarificationRow = Selectable<ClarificationsTable>
type Db = Kysely<Schema>

export async function sessionById(db: Db, id: string): Promise<SessionRow | undefined> {
  return db.selectFrom('design_sessions').selectAll().where('id', '=', id).executeTakeFirst()
}

export async function lockedSession(db: Db, id: string): Promise<SessionRow | undefined> {
  return forUpdate(db, db.selectFrom('design_sessions').selectAll().where('id', '=', id)).executeTakeFirst()
}

export async function insertSession(db: Db, row: SessionRow): Promise<void> {
  await db.insertInto('design_sessions').values(row).execute()
}

/** Compare-and-set on the state: false when another writer was first. */
export async function moveSessionRow(db: Db, id: string, from: SessionState, patch: Updateable<DesignSessionsTable>): Promise<boolean> {
  const result = await db.updateTable('design_sessions').set(patch).where('id', '=', id).where('state', '=', from).executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** Newest first; `before` is the last one seen. */
export async function sessionPage(db: Db, filter: { projects: 'all' | readonly string[]; state?: SessionState | undefined }, before: { at: number; id: string } | null, limit: number): Promise<SessionRow[]> {
  let query = db.selectFrom('design_sessions').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit)
  query = inProjects(query, 'project_id', filter.projects)
  if (filter.state !== undefined) query = query.where('state', '=', filter.state)
  if (before) query = query.where((eb) => eb.or([eb('created_at', '<', before.at), eb.and([eb('created_at', '=', before.at), eb('id', '<', before.id)])]))
  return query.execute()
}

export async function sessionIdsIn(db: Db, states: readonly SessionState[]): Promise<string[]> {
  return (await db.selectFrom('design_sessions').select('id').where('state', 'in', [...states]).orderBy('created_at').orderBy('id').execute()).map((row) => row.id)
}

export async function insertSpecVersion(db: Db, row: SpecVersionRow): Promise<void> {
  await db.insertInto('spec_versions').values(row).execute()
}

export async function specVersion(db: Db, sessionId: string, version: number): Promise<SpecVersionRow | undefined> {
  return db.selectFrom('spec_versions').selectAll().where('session_id', '=', sessionId).where('version', '=', version).executeTakeFirst()
}

/** Newest first; `before` is the number of the last one seen. */
export async function specVersionPage(db: Db, sessionId: string, before: number | null, limit: number): Promise<SpecVersionRow[]> {
  let query = db.selectFrom('spec_versions').selectAll().where('session_id', '=', sessionId).orderBy('version', 'desc').limit(limit)
  if (before !== null) query = query.where('version', '<', before)
  return query.execute()
}

export async function clarificationsOf(db: Db, sessionId: string): Promise<ClarificationRow[]> {
  return db.selectFrom('clarifications').selectAll().where('session_id', '=', sessionId).orderBy('number').execute()
}

export async function insertClarification(db: Db, row: ClarificationRow): Promise<void> {
  await db.insertInto('clarifications').values(row).execute()
}

export async function patchClarification(db: Db, sessionId: string, number: number, patch: Updateable<ClarificationsTable>): Promise<void> {
  await db.updateTable('clarifications').set(patch).where('session_id', '=', sessionId).where('number', '=', number).execute()
}

/** Compare-and-set on there being no answer: false when somebody was first. */
export async function answerClarification(db: Db, sessionId: string, number: number, answer: Pick<ClarificationRow, 'answer' | 'answered_by' | 'answered_at' | 'answered_version'>): Promise<boolean> {
  const result = await db.updateTable('clarifications').set(answer).where('session_id', '=', sessionId).where('number', '=', number).where('answer', 'is', null).executeTakeFirst()
  return result.numUpdatedRows === 1n
}

export async function stepAnswer(db: Db, sessionId: string, step: string, requestDigest: string): Promise<StepRow | undefined> {
  return db.selectFrom('design_steps').selectAll().where('session_id', '=', sessionId).where('step', '=', step).where('request_digest', '=', requestDigest).executeTakeFirst()
}

/** Keeps the first answer when two runs were given one. */
export async function insertStep(db: Db, row: StepRow): Promise<void> {
  await db.insertInto('design_steps').values(row).onConflict((conflict) => conflict.columns(['session_id', 'step', 'request_digest']).doNothing()).execute()
}

export async function stepsOf(db: Db, sessionId: string): Promise<StepRow[]> {
  return db.selectFrom('design_steps').selectAll().where('session_id', '=', sessionId).orderBy('created_at').orderBy('step').execute()
}

export async function deleteSteps(db: Db, sessionId: string, digests: readonly string[]): Promise<void> {
  if (digests.length > 0) await db.deleteFrom('design_steps').where('session_id', '=', sessionId).where('request_digest', 'in', [...digests]).execute()
}

/** What the model gateway settled for this step, less what the journal has already booked for it, micro-dollars. */
export async function unbookedStepCost(db: Db, sessionId: string, step: string): Promise<number> {
  const calls = await db.selectFrom('model_calls').select(({ fn }) => fn.sum<number | string | null>('cost_micro_usd').as('total')).where('session_id', '=', sessionId).where('step', '=', step).executeTakeFirst()
  const booked = await db.selectFrom('design_steps').select(({ fn }) => fn.sum<number | string | null>('cost_micro_usd').as('total')).where('session_id', '=', sessionId).where('step', '=', step).executeTakeFirst()
  return Math.max(0, Number(calls?.total ?? 0) - Number(booked?.total ?? 0))
}

/** States of the session's tickets with their number. */
export async function ticketStates(db: Db, sessionId: string): Promise<{ state: string; count: number }[]> {
  const rows = await db.selectFrom('tickets').select(['state', ({ fn }) => fn.countAll<number | string>().as('count')]).where('session_id', '=', sessionId).groupBy('state').execute()
  return rows.map((row) => ({ state: row.state, count: Number(row.count) }))
}

/** Keys of the session's tickets, and which of them nobody has started. */
export async function ticketKeys(db: Db, sessionId: string): Promise<{ key: string; started: boolean }[]> {
  const rows = await db.selectFrom('tickets').select(['key', 'state', 'attempt_count']).where('session_id', '=', sessionId).orderBy('key').execute()
  return rows.map(({ key, state, attempt_count }) => ({ key, started: !notStarted({ state: state as TicketState, attempts: attempt_count }) }))
}

/** A session that is being built and whose tickets are all over. */
export async function endedBuild(db: Db): Promise<SessionRow | undefined> {
  return db.selectFrom('design_sessions').selectAll().where('state', '=', 'building')
    .where((eb) => eb.exists(eb.selectFrom('tickets').select('tickets.id').whereRef('tickets.session_id', '=', 'design_sessions.id')))
    .where((eb) => eb.not(eb.exists(eb.selectFrom('tickets').select('tickets.id').whereRef('tickets.session_id', '=', 'design_sessions.id').where('tickets.state', 'not in', [...TERMINAL]))))
    .limit(1).executeTakeFirst()
}
