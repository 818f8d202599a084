import type { Kysely } from 'kysely'

/** Secrets that go out with requests of microVMs: sealed values, and the hosts and headers that they are bound to. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('secrets')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('organization_id', 'text', (column) => column.notNull().defaultTo('ORG-00000000'))
    .addColumn('project_id', 'text', (column) => column.references('projects.id'))
    .addColumn('scope', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('injection', 'text', (column) => column.notNull())
    .addColumn('version', 'integer', (column) => column.notNull())
    .addColumn('sealed', 'text', (column) => column.notNull())
    .addColumn('wrapped_key', 'text', (column) => column.notNull())
    .addColumn('key_id', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('created_by', 'text', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_by', 'text', (column) => column.notNull())
    .addColumn('last_used_at', 'bigint')
    .execute()
  await db.schema.createIndex('secrets_name').on('secrets').columns(['scope', 'name']).unique().execute()
  await db.schema.createIndex('secrets_key').on('secrets').columns(['key_id']).execute()

  // One secret for each header of each host, so that which one is sent is never a matter of order.
  await db.schema.createTable('secret_hosts')
    .addColumn('secret_id', 'text', (column) => column.notNull().references('secrets.id'))
    .addColumn('scope', 'text', (column) => column.notNull())
    .addColumn('host', 'text', (column) => column.notNull())
    .addColumn('header', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('secret_hosts_pk', ['scope', 'host', 'header'])
    .execute()
  await db.schema.createIndex('secret_hosts_secret').on('secret_hosts').columns(['secret_id']).execute()
}
