import { z } from 'zod'
import { endpoint, inQuery } from '../endpoint.ts'
import { pageOf, PageQuery, Time } from './shared.ts'

/** Who was about to do what, what the policies said, and how it ended. */
export const AuditEntry = z.object({
  id: z.string(), at: Time,
  /** `user` or `admin`; `keyId`: by this API key. */
  principal: z.object({ kind: z.string(), id: z.string(), name: z.string().nullable(), tokenId: z.string().nullable() }),
  action: z.string(), resource: z.object({ kind: z.string(), id: z.string() }), organizationId: z.string().nullable(), projectId: z.string().nullable(),
  outcome: z.enum(['allow', 'deny', 'approval']), policies: z.array(z.string()),
  /** Method and path of the route. */
  via: z.string(), correlationId: z.string(),
  /** HTTP status and code of the error; null while it runs, or when the server was stopped in its middle. */
  status: z.number().int().nullable(), code: z.string().nullable(), endedAt: Time.nullable(),
})
export type AuditEntry = z.infer<typeof AuditEntry>

const Filter = z.object({
  organizationId: z.string().max(200).optional(), projectId: z.string().max(200).optional(), principalId: z.string().max(200).optional(), action: z.string().max(100).optional(),
  outcome: z.enum(['allow', 'deny', 'approval']).optional(), resourceId: z.string().max(200).optional(),
  /** From this time on, and before this one, ms since the epoch. */
  since: z.coerce.number().int().min(0).optional(), until: z.coerce.number().int().min(0).optional(),
})

export const listAudit = endpoint({
  method: 'GET', path: '/api/audit', access: ['person'], action: 'audit:read', on: inQuery('organization', 'organizationId'), tag: 'audit',
  summary: 'Who did what in an organisation, newest first: every action but reading, and everything that was refused',
  query: PageQuery.extend(Filter.shape), response: pageOf(AuditEntry),
})
export const listInstallationAudit = endpoint({
  method: 'GET', path: '/api/audit/installation', access: ['person'], action: 'system:metrics', on: 'installation', tag: 'audit',
  summary: 'Who did what to the installation itself, newest first', query: PageQuery.extend(Filter.omit({ organizationId: true, projectId: true }).shape), response: pageOf(AuditEntry),
})
export const exportAudit = endpoint({
  method: 'GET', path: '/api/audit/export', access: ['person'], action: 'audit:read', on: inQuery('organization', 'organizationId'), tag: 'audit',
  summary: 'The same as a file: JSON lines or CSV, oldest first',
  query: Filter.extend({ format: z.enum(['jsonl', 'csv']).default('jsonl') }), response: z.unknown().describe('Lines of JSON, or CSV with a header'),
})
