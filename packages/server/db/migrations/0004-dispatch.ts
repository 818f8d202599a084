import { sql, type Kysely } from 'kysely'

/** Dispatch at the same cost however many tickets stand behind: what can be claimed has an index of its own. And what files change together. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('tickets').addColumn('open_dependencies', 'bigint', (column) => column.notNull().defaultTo(0)).execute()
  await sql`update tickets set open_dependencies = (
    select count(*) from ticket_dependencies d join tickets parent on parent.id = d.depends_on_id where d.ticket_id = tickets.id and parent.state <> 'done'
  )`.execute(db)
  await sql`create index tickets_claimable on tickets (project_id, priority desc, ready_at, id) where state in ('ready', 'changes_requested') and open_dependencies = 0`.execute(db)
  await db.schema.createIndex('tickets_active').on('tickets').columns(['state', 'updated_at']).execute()

  await db.schema.createTable('file_pairs')
    .addColumn('repository_id', 'text', (column) => column.notNull().references('repositories.id'))
    .addColumn('path', 'text', (column) => column.notNull())
    .addColumn('other_path', 'text', (column) => column.notNull())
    .addColumn('together', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('file_pairs_pk', ['repository_id', 'path', 'other_path'])
    .execute()
}
