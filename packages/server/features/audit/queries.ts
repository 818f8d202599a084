import type { Kysely, Selectable } from 'kysely'
import type { AuditEntriesTable, AuditOutcomesTable, Schema } from '../../db/schema.ts'

export type AuditRow = Selectable<AuditEntriesTable> & { [K in keyof Selectable<AuditOutcomesTable> as `ended_${K}`]: Selectable<AuditOutcomesTable>[K] | null } & { user_name: string | null }

export interface AuditFilter {
  /** Null: what belongs to no organisation. */
  readonly organizationId: string | null
  readonly projectId?: string | undefined; readonly principalId?: string | undefined; readonly action?: string | undefined
  readonly outcome?: string | undefined; readonly resourceId?: string | undefined; readonly since?: number | undefined; readonly until?: number | undefined
}

/** In order of time, behind the entry given. */
export async function auditPage(db: Kysely<Schema>, filter: AuditFilter, from: { at: number; id: string } | null, limit: number, direction: 'asc' | 'desc'): Promise<AuditRow[]> {
  const further = direction === 'asc' ? '>' : '<'
  let query = db.selectFrom('audit_entries').leftJoin('audit_outcomes', 'audit_outcomes.entry_id', 'audit_entries.id').leftJoin('users', 'users.id', 'audit_entries.principal_id')
    .selectAll('audit_entries')
    .select(['audit_outcomes.entry_id as ended_entry_id', 'audit_outcomes.status as ended_status', 'audit_outcomes.code as ended_code', 'audit_outcomes.at as ended_at', 'users.name as user_name'])
    .orderBy('audit_entries.at', direction).orderBy('audit_entries.id', direction).limit(limit)
    .where('audit_entries.organization_id', filter.organizationId === null ? 'is' : '=', filter.organizationId)
  if (filter.projectId !== undefined) query = query.where('audit_entries.project_id', '=', filter.projectId)
  if (filter.principalId !== undefined) query = query.where('audit_entries.principal_id', '=', filter.principalId)
  if (filter.action !== undefined) query = query.where('audit_entries.action', '=', filter.action)
  if (filter.outcome !== undefined) query = query.where('audit_entries.outcome', '=', filter.outcome)
  if (filter.resourceId !== undefined) query = query.where('audit_entries.resource_id', '=', filter.resourceId)
  if (filter.since !== undefined) query = query.where('audit_entries.at', '>=', filter.since)
  if (filter.until !== undefined) query = query.where('audit_entries.at', '<', filter.until)
  if (from) query = query.where((eb) => eb.or([eb('audit_entries.at', further, from.at), eb.and([eb('audit_entries.at', '=', from.at), eb('audit_entries.id', further, from.id)])]))
  return query.execute()
}
