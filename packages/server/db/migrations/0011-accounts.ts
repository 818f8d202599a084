import { sql, type CreateTableBuilder, type Kysely } from 'kysely'

const DEFAULT_ORGANIZATION_ID = 'ORG-00000000'

/** People, how they sign in, the organisations that they belong to, and the mails that they get. Types: db/schema.ts. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const create = async (table: string, columns: { text?: readonly string[]; optionalText?: readonly string[]; number?: readonly string[]; optionalNumber?: readonly string[] }, keys: (made: CreateTableBuilder<string, string>) => CreateTableBuilder<string, string> = (made) => made): Promise<void> => {
    let made = db.schema.createTable(table) as CreateTableBuilder<string, string>
    for (const name of columns.text ?? []) made = made.addColumn(name, 'text', (column) => (name === 'id' ? column.primaryKey() : column.notNull()))
    for (const name of columns.optionalText ?? []) made = made.addColumn(name, 'text')
    for (const name of columns.number ?? []) made = made.addColumn(name, 'bigint', (column) => column.notNull())
    for (const name of columns.optionalNumber ?? []) made = made.addColumn(name, 'bigint')
    await keys(made).execute()
  }

  await create('users', { text: ['id', 'email', 'name'], optionalText: ['image'], number: ['email_verified', 'super_admin', 'two_factor_enabled', 'created_at', 'updated_at'], optionalNumber: ['disabled_at'] }, (made) => made.addUniqueConstraint('users_email', ['email']))
  const ofUser = (name: string) => (made: CreateTableBuilder<string, string>) => made.addForeignKeyConstraint(`${name}_user`, ['user_id'], 'users', ['id'])
  await create('user_sessions', { text: ['id', 'user_id', 'token_hash'], optionalText: ['ip_address', 'user_agent'], number: ['expires_at', 'seen_at', 'created_at', 'updated_at'] }, (made) => ofUser('user_sessions')(made).addUniqueConstraint('user_sessions_token', ['token_hash']))
  await create('user_credentials', {
    text: ['id', 'user_id', 'provider_id', 'account_id'], optionalText: ['issuer', 'password', 'access_token', 'refresh_token', 'id_token', 'scope'],
    number: ['created_at', 'updated_at'], optionalNumber: ['access_token_expires_at', 'refresh_token_expires_at'],
  }, (made) => ofUser('user_credentials')(made).addUniqueConstraint('user_credentials_account', ['provider_id', 'account_id']))
  await create('verifications', { text: ['id', 'identifier', 'value'], number: ['expires_at', 'created_at', 'updated_at'] })
  await create('two_factors', { text: ['id', 'user_id', 'secret', 'backup_codes'], number: ['verified', 'failed_verification_count'], optionalNumber: ['locked_until'] }, (made) => ofUser('two_factors')(made).addUniqueConstraint('two_factors_of', ['user_id']))
  await create('device_codes', { text: ['id', 'device_code', 'user_code', 'status'], optionalText: ['user_id', 'client_id', 'scope'], number: ['expires_at'], optionalNumber: ['last_polled_at', 'polling_interval'] },
    (made) => made.addUniqueConstraint('device_codes_device', ['device_code']).addUniqueConstraint('device_codes_user', ['user_code']))

  await create('organizations', { text: ['id', 'slug', 'name'], number: ['created_at'] }, (made) => made.addUniqueConstraint('organizations_slug', ['slug']))
  await create('members', { text: ['organization_id', 'user_id', 'role'], number: ['created_at'] }, (made) => ofUser('members')(made).addPrimaryKeyConstraint('members_pk', ['organization_id', 'user_id']).addForeignKeyConstraint('members_organization', ['organization_id'], 'organizations', ['id']))
  await create('invitations', { text: ['id', 'kind', 'token_hash', 'invited_by'], optionalText: ['email', 'organization_id', 'role', 'accepted_by'], number: ['expires_at', 'created_at'], optionalNumber: ['accepted_at', 'revoked_at'] }, (made) => made.addUniqueConstraint('invitations_token', ['token_hash']))
  await create('guesses', { text: ['kind', 'subject'], number: ['failures', 'last_at'] }, (made) => made.addPrimaryKeyConstraint('guesses_pk', ['kind', 'subject']))
  await create('mails', { text: ['id', 'kind', 'recipient', 'data', 'state', 'correlation_id'], optionalText: ['failure'], number: ['tries', 'next_try_at', 'created_at'], optionalNumber: ['ended_at'] })

  for (const [table, column] of [['user_sessions', 'user_id'], ['user_credentials', 'user_id'], ['verifications', 'identifier'], ['verifications', 'expires_at'], ['members', 'user_id'], ['invitations', 'organization_id'], ['invitations', 'email']] as const) {
    await db.schema.createIndex(`${table}_by_${column}`).on(table).column(column).execute()
  }
  await db.schema.createIndex('mails_due').on('mails').columns(['state', 'next_try_at']).execute()

  for (const column of ['name', 'scopes', 'replaced_by'] as const) await db.schema.alterTable('tokens').addColumn(column, 'text').execute()
  await db.schema.alterTable('tokens').addColumn('last_used_at', 'bigint').execute()

  await sql`insert into organizations (id, slug, name, created_at) values (${DEFAULT_ORGANIZATION_ID}, 'default', 'Default', ${Date.now()})`.execute(db)
  await db.schema.alterTable('projects').addColumn('organization_id', 'text', (column) => column.notNull().defaultTo(DEFAULT_ORGANIZATION_ID)).execute()
  await db.schema.createIndex('projects_organization').on('projects').column('organization_id').execute()
}
