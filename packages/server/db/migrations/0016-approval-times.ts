import type { Kysely } from 'kysely'

/** When people are reminded of an approval, when it goes to a higher role, and when an approved one that nobody used lapses. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('approvals').addColumn('remind_at', 'bigint').execute()
  await db.schema.alterTable('approvals').addColumn('escalate_at', 'bigint').execute()
  await db.schema.alterTable('approvals').addColumn('escalated_to', 'text').execute()
}
