import { once } from 'node:events'
import { exportAudit, listAudit, listInstallationAudit, type AuditEntry } from '@swarm/contract/endpoints/audit.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { z } from 'zod'
import type { Context } from '../../context.ts'
import { fromJson } from '../../db/json.ts'
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

  register(http, exportAudit, async ({ query, request, reply, signal }) => {
    const filter = { ...query, organizationId: organization(request.resource) }
    const csv = query.format === 'csv'
    // The first page before the headers: an error is still an answer then.
    let rows = await auditPage(db.read, filter, null, EXPORT_PAGE, 'asc')
    const output = reply.hijack().raw
    output.writeHead(200, {
      ...Object.fromEntries(Object.entries(reply.getHeaders()).filter(([, value]) => value !== undefined)) as Record<string, string>,
      'content-type': csv ? 'text/csv; charset=utf-8' : 'application/jsonl; charset=utf-8', 'content-disposition': `attachment; filename="audit.${query.format}"`,
    })
    if (csv) output.write(`${CSV_COLUMNS.map(([name]) => name).join(',')}\r\n`)
    while (rows.length > 0) {
      const text = rows.map(present).map((entry) => csv ? CSV_COLUMNS.map(([, value]) => csvField(value(entry))).join(',') : JSON.stringify(entry)).join(csv ? '\r\n' : '\n')
      if (!output.write(`${text}${csv ? '\r\n' : '\n'}`)) await once(output, 'drain', { signal })
      const last = rows.at(-1)
      rows = rows.length < EXPORT_PAGE || !last ? [] : await auditPage(db.read, filter, { at: last.at, id: last.id }, EXPORT_PAGE, 'asc')
    }
    output.end()
    return reply
  })
}

const CSV_COLUMNS: readonly (readonly [string, (entry: AuditEntry) => string | number | null])[] = [
  ['at', ({ at }) => new Date(at).toISOString()], ['id', ({ id }) => id], ['principal', ({ principal }) => `${principal.kind} ${principal.id}`], ['name', ({ principal }) => principal.name],
  ['token', ({ principal }) => principal.tokenId], ['action', ({ action }) => action], ['resource', ({ resource }) => `${resource.kind} ${resource.id}`], ['project', ({ projectId }) => projectId],
  ['outcome', ({ outcome }) => outcome], ['policies', ({ policies }) => policies.join(' ')], ['via', ({ via }) => via], ['status', ({ status }) => status], ['code', ({ code }) => code],
  ['correlation_id', ({ correlationId }) => correlationId],
]

/** A field of RFC 4180; what a spreadsheet would take for a formula is marked as text. */
function csvField(value: string | number | null): string {
  const text = value === null ? '' : String(value)
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

function present(row: AuditRow): AuditEntry {
  return {
    id: row.id, at: row.at, principal: { kind: row.principal_kind, id: row.principal_id, name: row.user_name, tokenId: row.token_id }, action: row.action,
    resource: { kind: row.resource_kind, id: row.resource_id }, organizationId: row.organization_id, projectId: row.project_id,
    outcome: row.outcome as AuditEntry['outcome'], policies: fromJson(z.array(z.string()), row.policies), via: row.via, correlationId: row.correlation_id,
    status: row.ended_status, code: row.ended_code, endedAt: row.ended_at,
  }
}
