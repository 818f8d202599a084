import type { TicketRecord } from '@swarm/core/design/estimate.ts'
import { sql, type Insertable, type Kysely, type Selectable } from 'kysely'
import type { BuildEstimatesTable, Schema } from '../../db/schema.ts'

type Db = Kysely<Schema>
export type EstimateRow = Selectable<BuildEstimatesTable>

/** Finished tickets that count as history, at most: the last ones tell most. */
const MOST_RECORDS = 200
const MOST_COMPARISONS = 50

/** What the last finished tickets took, of a project or of all, whose model was served by the same provider: another one's tokens and prices say nothing. */
export async function ticketRecords(db: Db, filter: { projectId?: string; provider: string }): Promise<TicketRecord[]> {
  // Literally the condition of the index tickets_finished.
  let query = db.selectFrom('tickets').where(sql<boolean>`tickets.state = 'done'`)
    .where((eb) => eb.exists(eb.selectFrom('model_calls').select('model_calls.id').whereRef('model_calls.ticket_id', '=', 'tickets.id').where('model_calls.provider', '=', filter.provider)))
    .orderBy('tickets.updated_at', 'desc').limit(MOST_RECORDS)
  if (filter.projectId !== undefined) query = query.where('tickets.project_id', '=', filter.projectId)
  const rows = await query.select(['tickets.story_points', (eb) => eb.selectFrom('model_calls').select(({ fn }) => fn.sum<number | string | null>('model_calls.tokens').as('sum')).whereRef('model_calls.ticket_id', '=', 'tickets.id').as('tokens'),
    (eb) => eb.selectFrom('model_calls').select(({ fn }) => fn.sum<number | string | null>('model_calls.cost_micro_usd').as('sum')).whereRef('model_calls.ticket_id', '=', 'tickets.id').as('micro_usd'),
    (eb) => eb.selectFrom('attempts').select(sql<number | string | null>`sum(attempts.ended_at - attempts.created_at)`.as('sum')).whereRef('attempts.ticket_id', '=', 'tickets.id').as('work_ms'),
    (eb) => eb.selectFrom('questions').select(sql<number | string | null>`sum(questions.answered_at - questions.created_at)`.as('sum')).whereRef('questions.ticket_id', '=', 'tickets.id').as('waited_ms'),
  ]).execute()
  return rows.map((row) => ({
    storyPoints: row.story_points, tokens: Number(row.tokens ?? 0), microUsd: Number(row.micro_usd ?? 0), workMs: Math.max(0, Number(row.work_ms ?? 0) - Number(row.waited_ms ?? 0)),
  }))
}

/** What the tickets of a session have taken so far. */
export async function spentOnTickets(db: Db, sessionId: string): Promise<{ tokens: number; microUsd: number }> {
  const row = await db.selectFrom('model_calls').select(({ fn }) => [fn.sum<number | string | null>('tokens').as('tokens'), fn.sum<number | string | null>('cost_micro_usd').as('micro_usd')])
    .where('ticket_id', 'in', (eb) => eb.selectFrom('tickets').select('tickets.id').where('tickets.session_id', '=', sessionId)).executeTakeFirst()
  return { tokens: Number(row?.tokens ?? 0), microUsd: Number(row?.micro_usd ?? 0) }
}

export async function insertEstimate(db: Db, row: Insertable<BuildEstimatesTable>): Promise<void> {
  await db.insertInto('build_estimates').values(row).execute()
}

/** Oldest first. */
export async function estimatesOf(db: Db, sessionId: string): Promise<EstimateRow[]> {
  return db.selectFrom('build_estimates').selectAll().where('session_id', '=', sessionId).orderBy('spec_version').execute()
}

export async function setComparison(db: Db, row: Pick<EstimateRow, 'session_id' | 'spec_version'>, comparison: string, now: number): Promise<void> {
  await db.updateTable('build_estimates').set({ comparison, compared_at: now }).where('session_id', '=', row.session_id).where('spec_version', '=', row.spec_version).where('compared_at', 'is', null).execute()
}

/** The last comparisons of builds whose model was served by the same provider, newest first. */
export async function comparisons(db: Db, modelLabel: string): Promise<string[]> {
  const rows = await db.selectFrom('build_estimates').select('comparison').where('model_label', '=', modelLabel).where('compared_at', 'is not', null).orderBy('compared_at', 'desc').limit(MOST_COMPARISONS).execute()
  return rows.flatMap(({ comparison }) => (comparison === null ? [] : [comparison]))
}
