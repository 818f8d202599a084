import type { Kysely } from 'kysely'
import { sql } from 'kysely'

/** Ceilings for tickets and attempts, tokens beside money, and what a refused call stopped at. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('model_calls').addColumn('reserved_tokens', 'bigint', (column) => column.notNull().defaultTo(0)).execute()
  await db.schema.alterTable('model_calls').addColumn('tokens', 'bigint').execute()
  await db.schema.alterTable('model_calls').addColumn('ceiling', 'text').execute()
  await db.schema.alterTable('model_calls').addColumn('approval_id', 'text').execute()
  await sql`update model_calls set tokens = coalesce(input_tokens, 0) + coalesce(output_tokens, 0) + coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0) where state = 'settled'`.execute(db)

  await db.schema.createTable('budget_ceilings')
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('unit', 'text', (column) => column.notNull())
    .addColumn('cap', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('budget_ceilings_pk', ['kind', 'id', 'unit'])
    .execute()

  await db.schema.createTable('budget_thresholds')
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('unit', 'text', (column) => column.notNull())
    .addColumn('cap', 'bigint', (column) => column.notNull())
    .addColumn('percent', 'bigint', (column) => column.notNull())
    .addColumn('at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('budget_thresholds_pk', ['kind', 'id', 'unit', 'cap', 'percent'])
    .execute()

  // The sums behind a ceiling are read from the index alone.
  const amounts = ['state', 'cost_micro_usd', 'reserved_micro_usd', 'tokens', 'reserved_tokens']
  for (const column of ['project_id', 'session_id', 'ticket_id', 'attempt_id']) {
    await db.schema.createIndex(`model_calls_${column}_amounts`).on('model_calls').columns([column, ...amounts]).execute()
  }
  await db.schema.createIndex('model_calls_ceiling').on('model_calls').columns(['ceiling']).execute()
}
