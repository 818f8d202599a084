import { sql, type Kysely } from 'kysely'
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('users').addColumn('id', 'text', (c) => c.primaryKey()).addColumn('role', 'text', (c) => c.notNull()).addColumn('name', 'text', (c) => c.notNull()).addColumn('email', 'text', (c) => c.notNull()).execute()
  await db.schema.createTable('organizations').addColumn('id', 'text', (c) => c.primaryKey()).addColumn('slug', 'text', (c) => c.notNull()).execute()
  await sql`insert into organizations (id, slug) values ('ORG-00000000', 'default')`.execute(db)
  await db.schema.createTable('members').addColumn('organization_id', 'text', (c) => c.notNull()).addColumn('user_id', 'text', (c) => c.notNull()).addColumn('role', 'text', (c) => c.notNull()).execute()
  await db.schema.alterTable('projects').addColumn('organization_id', 'text', (c) => c.notNull().defaultTo('ORG-00000000')).execute()
}
