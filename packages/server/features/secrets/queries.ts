import type { Kysely, Selectable } from 'kysely'
import { forUpdate } from '../../db/dialect.ts'
import type { Schema, SecretsTable } from '../../db/schema.ts'

type Db = Kysely<Schema>
export type SecretRow = Selectable<SecretsTable>

export async function secretById(db: Db, id: string): Promise<SecretRow | undefined> {
  return db.selectFrom('secrets').selectAll().where('id', '=', id).executeTakeFirst()
}

/** With its row locked on PostgreSQL. */
export async function lockedSecret(db: Db, scope: string, name: string): Promise<SecretRow | undefined> {
  return forUpdate(db, db.selectFrom('secrets').selectAll().where('scope', '=', scope).where('name', '=', name)).executeTakeFirst()
}

/** By id, after the one given; of these scopes, or of a whole organisation. */
export async function secretPage(db: Db, of: { scopes: readonly string[] } | { organizationId: string }, afterId: string, limit: number): Promise<SecretRow[]> {
  const query = db.selectFrom('secrets').selectAll().where('id', '>', afterId).orderBy('id').limit(limit)
  return ('scopes' in of ? query.where('scope', 'in', of.scopes) : query.where('organization_id', '=', of.organizationId)).execute()
}

export async function secretsOf(db: Db, scopes: readonly string[]): Promise<SecretRow[]> {
  return db.selectFrom('secrets').selectAll().where('scope', 'in', scopes).orderBy('name').execute()
}

export async function anySecretOf(db: Db, scopes: readonly string[]): Promise<boolean> {
  return await db.selectFrom('secrets').select('id').where('scope', 'in', scopes).limit(1).executeTakeFirst() !== undefined
}

/** Hosts of these secrets, by their ids. */
export async function hostsOf(db: Db, ids: readonly string[]): Promise<Map<string, string[]>> {
  const hosts = new Map<string, string[]>(ids.map((id) => [id, []]))
  if (ids.length === 0) return hosts
  for (const row of await db.selectFrom('secret_hosts').select(['secret_id', 'host']).where('secret_id', 'in', ids).orderBy('host').execute()) hosts.get(row.secret_id)?.push(row.host)
  return hosts
}

/** Name of another secret of this scope that sets this header for one of these hosts, and for which. */
export async function takenBinding(db: Db, about: { id: string; scope: string; header: string; hosts: readonly string[] }): Promise<{ host: string; name: string } | undefined> {
  return db.selectFrom('secret_hosts').innerJoin('secrets', 'secrets.id', 'secret_hosts.secret_id').select(['secret_hosts.host', 'secrets.name'])
    .where('secret_hosts.scope', '=', about.scope).where('secret_hosts.header', '=', about.header).where('secret_hosts.host', 'in', about.hosts).where('secret_hosts.secret_id', '!=', about.id)
    .orderBy('secret_hosts.host').limit(1).executeTakeFirst()
}

/** The secret as it is now, with its hosts; what was kept of it before is overwritten. */
export async function putSecret(db: Db, row: SecretRow, header: string, hosts: readonly string[]): Promise<void> {
  const { id, ...rest } = row
  await db.insertInto('secrets').values(row).onConflict((conflict) => conflict.column('id').doUpdateSet(rest)).execute()
  await db.deleteFrom('secret_hosts').where('secret_id', '=', id).execute()
  await db.insertInto('secret_hosts').values(hosts.map((host) => ({ secret_id: id, scope: row.scope, host, header }))).execute()
}

/** Whether it was there. */
export async function deleteSecret(db: Db, id: string): Promise<boolean> {
  await db.deleteFrom('secret_hosts').where('secret_id', '=', id).execute()
  const { numDeletedRows } = await db.deleteFrom('secrets').where('id', '=', id).executeTakeFirst()
  return numDeletedRows === 1n
}

/** Ids of the keys that secrets are under. */
export async function keyIdsInUse(db: Db): Promise<string[]> {
  return (await db.selectFrom('secrets').select('key_id').distinct().orderBy('key_id').execute()).map((row) => row.key_id)
}

/** Some of those that are not under this key. */
export async function secretsUnderOtherKeys(db: Db, keyId: string, limit: number): Promise<SecretRow[]> {
  return db.selectFrom('secrets').selectAll().where('key_id', '!=', keyId).orderBy('id').limit(limit).execute()
}

/** Whether it was still as it was read. */
export async function moveKey(db: Db, from: Pick<SecretRow, 'id' | 'version' | 'key_id'>, to: Pick<SecretRow, 'wrapped_key' | 'key_id'>): Promise<boolean> {
  const { numUpdatedRows } = await db.updateTable('secrets').set(to).where('id', '=', from.id).where('version', '=', from.version).where('key_id', '=', from.key_id).executeTakeFirst()
  return numUpdatedRows === 1n
}

/** Of these secrets of these scopes, those that were not used since then were used now. */
export async function markUsed(db: Db, ids: readonly string[], scopes: readonly string[], now: number, since: number): Promise<void> {
  await db.updateTable('secrets').set({ last_used_at: now }).where('id', 'in', ids).where('scope', 'in', scopes)
    .where((eb) => eb.or([eb('last_used_at', 'is', null), eb('last_used_at', '<', since)])).execute()
}
