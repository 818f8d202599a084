import { exportAudit, listAudit, listInstallationAudit, type AuditEntry } from '@swarm/contract/endpoints/audit.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { z } from 'zod'
import type { Context } from '../../context.ts'
import { fromJson } from '../../db/json.ts'
import { type CsvColumns, sendExport } from '../../http/export.ts'
import { page, readPosition } from '../../http/pages.ts'
import { register } from '../../http/register.ts'
import { type AuditFilter, auditPage, type AuditRow } from './queries.ts'

const EXPORT_PAGE = 500

/** The audit log, read: what writes it is authorization/audit.ts. */
export function registerAudit({ http, db }: Pick<Context, 'http' | 'db'>): void {
  const entries = async (filter: AuditFilter, query: { cursor?: string | undefined; limit: number }) => {
    return page(await auditPage(db.read, filter, readPosition(query.cursor), query.limit + 1, 'desc'), query.limit, present, ({ at, id }) => `${at}.${id}`)
  }
  const organization = (resource: { organizationId: string | null } | null): string => {
    if (resource?.organizationId == null) throw new DomainError('invalid_input', { field: 'query.organizationId', problem: 'name an organisation' })
    return resource.organizationId
  }
  register(http, listAudit, async ({ query, request }) => entries({ ...query, organizationId: organization(request.resource) }, query))
  register(http, listInstallationAudit, async ({ query }) => entries({ ...query, organizationId: null }, query))

  async function* pages(filter: AuditFilter): AsyncGenerator<AuditEntry[]> {
    for (let after: AuditRow | undefined, rows: AuditRow[] = []; after === undefined || rows.length === EXPORT_PAGE; after = rows.at(-1)) {
      rows = await auditPage(db.read, filter, after === undefined ? null : { at: after.at, id: after.id }, EXPORT_PAGE, 'asc')
      yield rows.map(present)
      if (rows.length === 0) return
    }
  }
  register(http, exportAudit, async ({ query, request, reply, signal }) => {
    const filter = { ...query, organizationId: organization(request.resource) }
    return sendExport(reply, signal, { name: 'audit', format: query.format, columns: CSV_COLUMNS, pages: pages(filter) })
  })
}

const CSV_COLUMNS: CsvColumns<AuditEntry> = [
  ['at', ({ at }) => new Date(at).toISOString()], ['id', ({ id }) => id], ['principal', ({ principal }) => `${principal.kind} ${principal.id}`], ['name', ({ principal }) => principal.name],
  ['token', ({ principal }) => principal.tokenId], ['action', ({ action }) => action], ['resource', ({ resource }) => `${resource.kind} ${resource.id}`], ['project', ({ projectId }) => projectId],
  ['outcome', ({ outcome }) => outcome], ['policies', ({ policies }) => policies.join(' ')], ['via', ({ via }) => via], ['status', ({ status }) => status], ['code', ({ code }) => code],
  ['correlation_id', ({ correlationId }) => correlationId],
]

function present(row: AuditRow): AuditEntry {
  return {
    id: row.id, at: row.at, principal: { kind: row.principal_kind, id: row.principal_id, name: row.user_name, tokenId: row.token_id }, action: row.action,
    resource: { kind: row.resource_kind, id: row.resource_id }, organizationId: row.organization_id, projectId: row.project_id,
    outcome: row.outcome as AuditEntry['outcome'], policies: fromJson(z.array(z.string()), row.policies), via: row.via, correlationId: row.correlation_id,
    status: row.ended_status, code: row.ended_code, endedAt: row.ended_at,
  }
}
