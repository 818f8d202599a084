import { sql, type Kysely } from 'kysely'

/** Clarification, spec cards, who made a version and why, the plan that a new version starts from, and estimates. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // Sessions that exist already were begun with a whole spec.
  await db.schema.alterTable('design_sessions').addColumn('clarify', 'text', (column) => column.notNull().defaultTo('off')).execute()
  await db.schema.alterTable('design_sessions').addColumn('may_start', 'integer', (column) => column.notNull().defaultTo(1)).execute()
  for (const column of ['coverage', 'base'] as const) await db.schema.alterTable('design_sessions').addColumn(column, 'text').execute()
  for (const column of ['author', 'reason'] as const) await db.schema.alterTable('spec_versions').addColumn(column, 'text', (made) => made.notNull().defaultTo('')).execute()
  await db.schema.alterTable('spec_versions').addColumn('card', 'text').execute()
  await db.schema.createTable('clarifications')
    .addColumn('session_id', 'text', (column) => column.notNull().references('design_sessions.id'))
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addColumn('question', 'text', (column) => column.notNull())
    .addColumn('area', 'text', (column) => column.notNull())
    .addColumn('options', 'text', (column) => column.notNull())
    .addColumn('files', 'text', (column) => column.notNull())
    .addColumn('coverage', 'text', (column) => column.notNull())
    .addColumn('answer', 'text')
    .addColumn('answered_by', 'text')
    .addColumn('answered_at', 'bigint')
    .addColumn('answered_version', 'bigint')
    .addColumn('acknowledgement', 'text')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('clarifications_pk', ['session_id', 'number'])
    .execute()
  await db.schema.createTable('build_estimates')
    .addColumn('session_id', 'text', (column) => column.notNull().references('design_sessions.id'))
    .addColumn('spec_version', 'bigint', (column) => column.notNull())
    .addColumn('project_id', 'text', (column) => column.notNull().references('projects.id'))
    .addColumn('model_label', 'text', (column) => column.notNull())
    .addColumn('estimate', 'text', (column) => column.notNull())
    .addColumn('spent_before', 'text', (column) => column.notNull())
    .addColumn('comparison', 'text')
    .addColumn('confirmed_at', 'bigint', (column) => column.notNull())
    .addColumn('compared_at', 'bigint')
    .addPrimaryKeyConstraint('build_estimates_pk', ['session_id', 'spec_version'])
    .execute()
  await db.schema.createIndex('build_estimates_compared').on('build_estimates').columns(['model_label', 'compared_at']).execute()
  // Of a ticket: what its calls took, without reading those of all others.
  await db.schema.createIndex('model_calls_ticket').on('model_calls').columns(['ticket_id']).ifNotExists().execute()
  // The last finished tickets: history of estimates.
  await sql`create index tickets_finished on tickets (updated_at) where state = 'done'`.execute(db)
}
