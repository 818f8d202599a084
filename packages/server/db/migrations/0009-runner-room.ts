import type { Kysely } from 'kysely'

/** Why a runner has room for no further microVM, in its own words as of its last beat; null while it has. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('runners').addColumn('no_room', 'text').execute()
}
