import type { Kysely } from 'kysely'

/** Saved views of boards, runners that get no new work or were taken away, and what pages read over time. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('views')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('owner_id', 'text', (column) => column.notNull())
    .addColumn('project_id', 'text', (column) => column.references('projects.id'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('shared', 'bigint', (column) => column.notNull())
    .addColumn('settings', 'text', (column) => column.notNull())
    .addColumn('changed_by', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .execute()
  await db.schema.createIndex('views_owner').on('views').columns(['owner_id', 'name']).unique().execute()
  await db.schema.createIndex('views_project').on('views').columns(['project_id', 'shared']).execute()

  await db.schema.alterTable('runners').addColumn('draining_at', 'bigint').execute()
  await db.schema.alterTable('runners').addColumn('draining_by', 'text').execute()
  await db.schema.alterTable('runners').addColumn('draining_reason', 'text').execute()
  await db.schema.alterTable('runners').addColumn('removed_at', 'bigint').execute()

  // A page asks for the last days of a project; without these each answer would read all calls and attempts that it ever had.
  await db.schema.createIndex('model_calls_project_time').on('model_calls').columns(['project_id', 'created_at']).execute()
  await db.schema.createIndex('attempts_project_time').on('attempts').columns(['project_id', 'created_at']).execute()
  // The history of one host, among the microVMs of all.
  await db.schema.createIndex('vms_runner').on('vms').columns(['runner_id', 'ended_at']).execute()
}
