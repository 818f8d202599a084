import type { Action } from '@swarm/core/policy/actions.ts'
import { json } from '../db/json.ts'
import type { Trx } from '../db/unit.ts'
import type { Principal } from '../http/tokens.ts'
import type { Decision } from './engine.ts'
import type { Resource } from './resources.ts'

export interface AuditEntry {
  readonly id: string
  readonly at: number
  readonly principal: Pick<Principal, 'kind' | 'id' | 'tokenId'>
  readonly action: Action
  readonly resource: Resource
  readonly decision: Decision
  /** What was asked: method and path of the route, or the step of an agent. */
  readonly via: string
  readonly correlationId: string
}

/** Writes down that somebody is about to do something, or was refused. In a unit before the act: what happened is never missing from it. */
export async function recordAttempt(trx: Trx, entry: AuditEntry): Promise<void> {
  await trx.insertInto('audit_entries').values({
    id: entry.id, at: entry.at, principal_kind: entry.principal.kind, principal_id: entry.principal.id, token_id: entry.principal.tokenId,
    action: entry.action, resource_kind: entry.resource.kind, resource_id: entry.resource.id, organization_id: entry.resource.organizationId, project_id: entry.resource.projectId,
    outcome: entry.decision.outcome, policies: json(entry.decision.policies), via: entry.via, correlation_id: entry.correlationId,
  }).execute()
}

/** Writes down how it ended: the HTTP status and, of an error, its code. An entry without this was cut off by a stop of the server. */
export async function recordOutcome(trx: Trx, entryId: string, ended: { readonly status: number; readonly code: string | null; readonly at: number }): Promise<void> {
  await trx.insertInto('audit_outcomes').values({ entry_id: entryId, ...ended }).execute()
}
