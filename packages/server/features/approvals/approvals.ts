import { decideApproval, listApprovals, showApproval } from '@swarm/contract/endpoints/approvals.ts'
import type { Approval } from '@swarm/contract/endpoints/approvals.ts'
import type { ApprovalKind } from '@swarm/core/approvals/approval.ts'
import { POLICY_KINDS } from '@swarm/core/approvals/approval.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { ACTIONS } from '@swarm/core/policy/actions.ts'
import type { Context } from '../../context.ts'
import type { Duty } from '../../coordinator/duty.ts'
import { byCreation, page, readPosition } from '../../http/pages.ts'
import { register } from '../../http/register.ts'
import { approvalById, approvals, nextApprovalTime } from './queries.ts'
import type { ApprovalRow, ApprovalService } from './service.ts'

function present(row: ApprovalRow): Approval {
  return {
    id: row.id, projectId: row.project_id, kind: row.kind as ApprovalKind, subject: { kind: row.subject_kind, id: row.subject_id }, requester: row.requester,
    payload: JSON.parse(row.payload) as unknown, payloadHash: row.payload_hash, status: row.status, decidedBy: row.decided_by, decidedAt: row.decided_at,
    reason: row.decision_reason, usedAt: row.used_at, yesAllowed: row.yes_allowed === 1, escalatedTo: row.escalated_to, expiresAt: row.expires_at, createdAt: row.created_at,
  }
}


/** @returns the duty that keeps their times */
export function registerApprovals(context: Context, service: ApprovalService): Duty {
  const { http, db, authorization } = context

  authorization.onApproval(async ({ kind, resource, principal, request, policies, correlationId, action }) => {
    // An approval belongs to a project: what concerns none of them cannot be asked for.
    if (resource.projectId === null) throw new DomainError('forbidden', { action, what: ACTIONS[action].summary, resource: `${resource.kind} ${resource.id}`, why: `${policies.join(', ')} would ask for approval, which is possible only inside a project` })
    const { projectId } = resource
    return db.write((trx) => service.grant(trx, {
      kind: (POLICY_KINDS as readonly string[]).includes(kind) ? kind : 'policy', projectId, subject: { kind: resource.kind, id: resource.id }, requester: `${principal.kind} ${principal.id}`, correlationId,
      payload: { action, what: ACTIONS[action].summary, policies, request }, yesAllowed: false,
    }))
  })

  register(http, listApprovals, async ({ query, projects }) => {
    return page(await approvals(db.read, { ...query, projects: await projects() }, readPosition(query.cursor), query.limit + 1), query.limit, present, byCreation)
  })

  register(http, showApproval, async ({ params }) => {
    const row = await approvalById(db.read, params.approvalId)
    if (!row) throw new DomainError('not_found', { kind: 'approval', id: params.approvalId })
    return present(row)
  })

  register(http, decideApproval, async ({ params, body, principal, correlationId }) => present(await db.write((trx) => service.decide(trx, {
    approvalId: params.approvalId, decision: body.decision, payloadHash: body.payloadHash, reason: body.reason,
    decidedBy: `${principal.kind} ${principal.id}`, byYesFlag: body.by === 'yes-flag', correlationId,
  }))))

  return {
    name: 'approval times',
    run: async () => db.write((trx) => service.keepTime(trx)),
    nextAt: () => nextApprovalTime(db.read),
  }
}
