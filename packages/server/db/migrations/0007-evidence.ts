import type { Kysely } from 'kysely'

/** Signed evidence of merged changes, the keys that sign it, and what attempts were given, for replays. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('evidence_bundles')
    .addColumn('change_id', 'text', (column) => column.primaryKey().references('changes.id'))
    .addColumn('project_id', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('key_id', 'text', (column) => column.notNull())
    .addColumn('sealed_at', 'bigint', (column) => column.notNull())
    .execute()

  await db.schema.createTable('evidence_keys')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('public_key', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute()

  await db.schema.createTable('attempt_recordings')
    .addColumn('attempt_id', 'text', (column) => column.notNull().references('attempts.id'))
    .addColumn('fence', 'bigint', (column) => column.notNull())
    .addColumn('work_digest', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('attempt_recordings_pk', ['attempt_id', 'fence'])
    .execute()

  await db.schema.createIndex('changes_merged').on('changes').columns(['state', 'updated_at']).execute()
  await db.schema.alterTable('vms').addColumn('image_digest', 'text').execute()
}
