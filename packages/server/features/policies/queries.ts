import type { Kysely, Selectable } from 'kysely'
import type { AuditEntriesTable, PoliciesTable, Schema } from '../../db/schema.ts'

export type PolicyRow = Selectable<PoliciesTable>

export async function policyRows(db: Kysely<Schema>, organizationId: string): Promise<PolicyRow[]> {
  return db.selectFrom('policies').selectAll().where('organization_id', '=', organizationId).orderBy('id').execute()
}

/** Compare-and-set on the version: false when somebody was first. */
export async function writePolicy(db: Kysely<Schema>, row: PolicyRow): Promise<boolean> {
  if (row.version === 1) {
    const { numInsertedOrUpdatedRows } = await db.insertInto('policies').values(row).onConflict((conflict) => conflict.columns(['organization_id', 'id']).doNothing()).executeTakeFirstOrThrow()
    return numInsertedOrUpdatedRows === 1n
  }
  const { numUpdatedRows } = await db.updateTable('policies').set(row).where('organization_id', '=', row.organization_id).where('id', '=', row.id).where('version', '=', row.version - 1).executeTakeFirstOrThrow()
  return numUpdatedRows === 1n
}

export async function deletePolicy(db: Kysely<Schema>, organizationId: string, id: string): Promise<boolean> {
  const { numDeletedRows } = await db.deleteFrom('policies').where('organization_id', '=', organizationId).where('id', '=', id).executeTakeFirstOrThrow()
  return numDeletedRows === 1n
}

export async function newestEntries(db: Kysely<Schema>, organizationId: string, limit: number): Promise<Selectable<AuditEntriesTable>[]> {
  return db.selectFrom('audit_entries').selectAll().where('organization_id', '=', organizationId).orderBy('at', 'desc').orderBy('id', 'desc').limit(limit).execute()
}
