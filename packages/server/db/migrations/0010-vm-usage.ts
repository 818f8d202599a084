import type { Kysely } from 'kysely'

/** What microVMs were given, what they use, and what people had done to them. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const column of ['size', 'limits', 'end_detail', 'parent_id'] as const) await db.schema.alterTable('vms').addColumn(column, 'text').execute()
  await db.schema.alterTable('vms').addColumn('paused', 'integer', (column) => column.notNull().defaultTo(0)).execute()

  const measured = ['cpu_ms', 'rss_bytes', 'pss_bytes', 'scratch_bytes', 'egress_bytes', 'open_forwards', 'uptime_ms', 'paused', 'cpu_millicores'] as const
  let usage = db.schema.createTable('vm_usage')
    .addColumn('vm_id', 'text', (column) => column.primaryKey())
    .addColumn('sampled_at', 'bigint', (column) => column.notNull())
    .addColumn('kept_at', 'bigint', (column) => column.notNull())
    .addColumn('peak_rss_bytes', 'bigint', (column) => column.notNull())
  for (const column of measured) usage = usage.addColumn(column, 'bigint', (made) => made.notNull())
  await usage.execute()

  let samples = db.schema.createTable('vm_samples')
    .addColumn('vm_id', 'text', (column) => column.notNull())
    .addColumn('at', 'bigint', (column) => column.notNull())
  for (const column of measured) samples = samples.addColumn(column, 'bigint', (made) => made.notNull())
  await samples.addPrimaryKeyConstraint('vm_samples_pk', ['vm_id', 'at']).execute()
  await db.schema.createIndex('vm_samples_at').on('vm_samples').columns(['at']).execute()

  await db.schema.createTable('vm_operations')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('vm_id', 'text', (column) => column.notNull().references('vms.id'))
    .addColumn('runner_id', 'text', (column) => column.notNull().references('runners.id'))
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('input', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('requested_by', 'text', (column) => column.notNull())
    .addColumn('reason', 'text')
    .addColumn('exit_code', 'bigint')
    .addColumn('failure', 'text')
    .addColumn('correlation_id', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .addColumn('ended_at', 'bigint')
    .execute()
  await db.schema.createIndex('vm_operations_runner').on('vm_operations').columns(['runner_id', 'state']).execute()
  await db.schema.createIndex('vm_operations_vm').on('vm_operations').columns(['vm_id', 'created_at']).execute()
}
