import type { Role } from '@swarm/core/policy/actions.ts'
import { sql, type Kysely, type Selectable, type Updateable } from 'kysely'
import { forUpdate } from '../../db/dialect.ts'
import type { InvitationsTable, Schema, TokensTable, UserSessionsTable, UsersTable } from '../../db/schema.ts'

type Db = Kysely<Schema>
export type UserRow = Selectable<UsersTable>
export type LoginRow = Selectable<UserSessionsTable>
export type InvitationRow = Selectable<InvitationsTable>
export type TokenRow = Selectable<TokensTable>
/** The (created_at, id) of the last one seen, newest first. */
export type After = { at: number; id: string } | null

export async function userById(db: Db, id: string): Promise<UserRow | undefined> {
  return db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst()
}
export async function userByIdOrEmail(db: Db, name: string): Promise<UserRow | undefined> {
  return db.selectFrom('users').selectAll().where((eb) => eb.or([eb('id', '=', name), eb('email', '=', name.toLowerCase())])).executeTakeFirst()
}
export async function userByEmail(db: Db, email: string): Promise<UserRow | undefined> {
  return db.selectFrom('users').selectAll().where('email', '=', email).executeTakeFirst()
}
export async function anyUser(db: Db): Promise<boolean> {
  return await db.selectFrom('users').select('id').limit(1).executeTakeFirst() !== undefined
}
export async function anotherUser(db: Db, than: string): Promise<boolean> {
  return await db.selectFrom('users').select('id').where('id', '!=', than).limit(1).executeTakeFirst() !== undefined
}
/** By e-mail address, after the one given. */
export async function userPage(db: Db, after: string, search: string | undefined, limit: number): Promise<UserRow[]> {
  let query = db.selectFrom('users').selectAll().where('email', '>', after).orderBy('email').limit(limit)
  if (search !== undefined && search !== '') {
    const pattern = `%${search.toLowerCase().replace(/[\\%_]/g, (sign) => `\\${sign}`)}%`
    query = query.where((eb) => eb.or([sql<boolean>`email like ${pattern} escape '\\'`, sql<boolean>`lower(name) like ${pattern} escape '\\'`]))
  }
  return query.execute()
}
export async function updateUser(db: Db, id: string, patch: Updateable<UsersTable>): Promise<void> {
  await db.updateTable('users').set(patch).where('id', '=', id).execute()
}
/** Locked on PostgreSQL: of two who take the role from each other, the second sees what the first did. */
export async function activeSuperAdmins(db: Db): Promise<string[]> {
  return (await forUpdate(db, db.selectFrom('users').select('id').where('super_admin', '=', 1).where('disabled_at', 'is', null).orderBy('id')).execute()).map(({ id }) => id)
}

export async function credentialOfUser(db: Db, userId: string, provider: string): Promise<{ id: string; password: string | null } | undefined> {
  return db.selectFrom('user_credentials').select(['id', 'password']).where('user_id', '=', userId).where('provider_id', '=', provider).executeTakeFirst()
}

export async function membershipsOf(db: Db, userId: string): Promise<{ organizationId: string; slug: string; name: string; role: Role }[]> {
  const rows = await db.selectFrom('members').innerJoin('organizations', 'organizations.id', 'members.organization_id').select(['organizations.id as organizationId', 'slug', 'name', 'role']).where('user_id', '=', userId).orderBy('slug').execute()
  return rows.map((row) => ({ ...row, role: row.role as Role }))
}

/** A live session or nothing; `hash` of its token. */
export async function loginByHash(db: Db, hash: string, now: number): Promise<{ id: string; userId: string; seenAt: number; superAdmin: number } | undefined> {
  return db.selectFrom('user_sessions').innerJoin('users', 'users.id', 'user_sessions.user_id')
    .select(['user_sessions.id', 'users.id as userId', 'seen_at as seenAt', 'super_admin as superAdmin'])
    .where('token_hash', '=', hash).where('expires_at', '>', now).where('disabled_at', 'is', null).executeTakeFirst()
}
export async function loginPage(db: Db, userId: string, now: number, after: After, limit: number): Promise<LoginRow[]> {
  let query = db.selectFrom('user_sessions').selectAll().where('user_id', '=', userId).where('expires_at', '>', now).orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit)
  if (after) query = query.where((eb) => eb.or([eb('created_at', '<', after.at), eb.and([eb('created_at', '=', after.at), eb('id', '<', after.id)])]))
  return query.execute()
}
/** Ends sessions of a user: all, one, or all but one. @returns the ids of those that were ended */
export async function deleteLogins(db: Db, userId: string, which: { only?: string; except?: string } = {}): Promise<string[]> {
  let query = db.deleteFrom('user_sessions').where('user_id', '=', userId)
  if (which.only !== undefined) query = query.where('id', '=', which.only)
  if (which.except !== undefined) query = query.where('id', '!=', which.except)
  return (await query.returning('id').execute()).map(({ id }) => id)
}

/** Locked on PostgreSQL. */
export async function invitationByHash(db: Db, hash: string): Promise<InvitationRow | undefined> {
  return forUpdate(db, db.selectFrom('invitations').selectAll().where('token_hash', '=', hash)).executeTakeFirst()
}
/** Compare-and-set from open: false when it was used, withdrawn or ran out meanwhile. */
export async function closeInvitation(db: Db, id: string, now: number, patch: Updateable<InvitationsTable>): Promise<boolean> {
  const result = await db.updateTable('invitations').set(patch).where('id', '=', id).where('accepted_at', 'is', null).where('revoked_at', 'is', null).where('expires_at', '>', now).executeTakeFirst()
  return result.numUpdatedRows === 1n
}
/** Those that make somebody a member, to one address. */
export async function openInvitationsTo(db: Db, email: string, now: number): Promise<InvitationRow[]> {
  return db.selectFrom('invitations').selectAll().where('kind', '=', 'invitation').where('email', '=', email).where('accepted_at', 'is', null).where('revoked_at', 'is', null).where('expires_at', '>', now).execute()
}
export async function invitationPage(db: Db, organizationId: string, after: After, limit: number): Promise<InvitationRow[]> {
  let query = db.selectFrom('invitations').selectAll().where('organization_id', '=', organizationId).orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit)
  if (after) query = query.where((eb) => eb.or([eb('created_at', '<', after.at), eb.and([eb('created_at', '=', after.at), eb('id', '<', after.id)])]))
  return query.execute()
}

export async function keyPage(db: Db, userId: string, after: After, limit: number): Promise<TokenRow[]> {
  let query = db.selectFrom('tokens').selectAll().where('kind', '=', 'key').where('subject_id', '=', userId).orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit)
  if (after) query = query.where((eb) => eb.or([eb('created_at', '<', after.at), eb.and([eb('created_at', '=', after.at), eb('id', '<', after.id)])]))
  return query.execute()
}
export async function keyOf(db: Db, userId: string, keyId: string): Promise<TokenRow | undefined> {
  return forUpdate(db, db.selectFrom('tokens').selectAll().where('kind', '=', 'key').where('subject_id', '=', userId).where('id', '=', keyId)).executeTakeFirst()
}
