import { type Kysely, sql } from 'kysely'
import { dialectOf } from '../dialect.ts'

/** Members of single projects, policies of organisations, and the log of who did what, which the database itself only lets grow. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('project_members')
    .addColumn('project_id', 'text', (column) => column.notNull().references('projects.id'))
    .addColumn('user_id', 'text', (column) => column.notNull())
    .addColumn('role', 'text', (column) => column.notNull())
    .addColumn('added_by', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('project_members_pk', ['project_id', 'user_id'])
    .execute()
  await db.schema.createIndex('project_members_user').on('project_members').column('user_id').execute()

  await db.schema.createTable('policies')
    .addColumn('organization_id', 'text', (column) => column.notNull())
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('summary', 'text', (column) => column.notNull())
    .addColumn('cedar', 'text')
    .addColumn('enabled', 'bigint', (column) => column.notNull())
    .addColumn('version', 'bigint', (column) => column.notNull())
    .addColumn('changed_by', 'text', (column) => column.notNull())
    .addColumn('changed_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('policies_pk', ['organization_id', 'id'])
    .execute()

  await db.schema.createTable('audit_entries')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('at', 'bigint', (column) => column.notNull())
    .addColumn('principal_kind', 'text', (column) => column.notNull())
    .addColumn('principal_id', 'text', (column) => column.notNull())
    .addColumn('token_id', 'text')
    .addColumn('action', 'text', (column) => column.notNull())
    .addColumn('resource_kind', 'text', (column) => column.notNull())
    .addColumn('resource_id', 'text', (column) => column.notNull())
    .addColumn('organization_id', 'text')
    .addColumn('project_id', 'text')
    .addColumn('outcome', 'text', (column) => column.notNull())
    .addColumn('policies', 'text', (column) => column.notNull())
    .addColumn('via', 'text', (column) => column.notNull())
    .addColumn('correlation_id', 'text', (column) => column.notNull())
    .execute()
  await db.schema.createIndex('audit_entries_order').on('audit_entries').columns(['at', 'id']).execute()
  await db.schema.createIndex('audit_entries_organization').on('audit_entries').columns(['organization_id', 'at', 'id']).execute()

  await db.schema.createTable('audit_outcomes')
    .addColumn('entry_id', 'text', (column) => column.primaryKey().references('audit_entries.id'))
    .addColumn('status', 'bigint', (column) => column.notNull())
    .addColumn('code', 'text')
    .addColumn('at', 'bigint', (column) => column.notNull())
    .execute()

  if (dialectOf(db) === 'postgres') {
    await sql`create function audit_append_only() returns trigger language plpgsql as
      $$ begin raise exception 'the audit log is append-only' using errcode = 'integrity_constraint_violation'; end $$`.execute(db)
  }
  for (const table of ['audit_entries', 'audit_outcomes']) {
    if (dialectOf(db) === 'postgres') {
      await sql`create trigger ${sql.ref(`${table}_append_only`)} before update or delete or truncate on ${sql.table(table)} for each statement execute function audit_append_only()`.execute(db)
    } else {
      for (const act of ['update', 'delete']) {
        await sql`create trigger ${sql.ref(`${table}_no_${act}`)} before ${sql.raw(act)} on ${sql.table(table)} begin select raise(abort, 'the audit log is append-only'); end`.execute(db)
      }
    }
  }
}
