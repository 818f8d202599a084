import type { Kysely } from 'kysely'

/** Every process that a runner has had: one that was replaced can come back (a paused host, a request that was long on its way) and is refused. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('runner_boots')
    .addColumn('runner_id', 'text', (column) => column.notNull().references('runners.id'))
    .addColumn('boot_id', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('runner_boots_pk', ['runner_id', 'boot_id'])
    .execute()
}
