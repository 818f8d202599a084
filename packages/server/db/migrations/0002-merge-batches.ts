import { sql, type Kysely } from 'kysely'

/** Batches of the merge queue. An entry that was being checked on its own waits again: what main has already is then seen as such. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('merge_batches')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('project_id', 'text', (column) => column.notNull())
    .addColumn('repository_id', 'text', (column) => column.notNull().references('repositories.id'))
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('base_sha', 'text', (column) => column.notNull())
    .addColumn('head_sha', 'text', (column) => column.notNull())
    .addColumn('members', 'text', (column) => column.notNull())
    .addColumn('check_id', 'text', (column) => column.notNull())
    .addColumn('reason', 'text')
    .addColumn('correlation_id', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('ended_at', 'bigint')
    .execute()
  await db.schema.createIndex('merge_batches_repository').on('merge_batches').columns(['repository_id', 'created_at']).execute()
  // One at a time per repository, whatever two replicas do at once.
  await sql`create unique index merge_batches_live on merge_batches (repository_id) where state = 'checking'`.execute(db)
  await db.schema.alterTable('merge_entries').addColumn('batch_id', 'text').execute()
  await sql`update merge_entries set state = 'queued', base_sha = null, candidate_sha = null, check_id = null where state = 'checking'`.execute(db)
  // An approval puts one entry into the queue, once.
  await db.schema.createIndex('merge_entries_approval').on('merge_entries').columns(['approval_id']).unique().execute()
}
