import { createHash } from 'node:crypto'
import { APPROVAL_TIMES, type ApprovalKind, type ApprovalTimes, canonicalJson, POLICY_KINDS, yesMayDecide } from '@swarm/core/approvals/approval.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Selectable } from 'kysely'
import type { ApprovalsTable } from '../../db/schema.ts'
import { signal, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { ApprovalCommands, ApprovalRequest, DecisionReaction } from '../../ports.ts'
import { dueApproval, grantedApproval, insertApproval, lockedApproval, openApprovalsOf, patchTimes, settleApproval, useApproval } from './queries.ts'

export type ApprovalRow = Selectable<ApprovalsTable>

export interface ApprovalService extends ApprovalCommands {
  /** An approval that somebody gave for exactly this request is used up; else one is asked for. */
  grant(trx: Trx, request: ApprovalRequest): Promise<{ used: boolean; approvalId: string }>
  /** Reminds of, escalates or lets lapse the approval that has waited longest beyond its time. False when none has. */
  keepTime(trx: Trx): Promise<boolean>
  /**
   * Decides once. The same decision again is answered alike; another one is told who was first.
   * The reaction of the feature that asked runs in the same transaction: what is approved has been set going, or nothing has happened.
   */
  decide(trx: Trx, input: { approvalId: string; decision: 'approved' | 'rejected' | 'revision_requested'; payloadHash: string; reason: string; decidedBy: string; byYesFlag: boolean; byPolicy?: boolean; correlationId: string }): Promise<ApprovalRow>
}

export function hashPayload(payload: unknown): string {
  return createHash('sha256').update(canonicalJson(payload)).digest('hex')
}

export interface ApprovalDependencies {
  readonly now: () => number
  readonly makeId: (kind: 'approval') => string
  /** Instead of those of each kind. */
  readonly times?: Partial<Pick<ApprovalTimes, 'remindMs' | 'escalateMs' | 'expireMs'>>
}

const isPolicyKind = (kind: string): boolean => (POLICY_KINDS as readonly string[]).includes(kind)

export function createApprovals(deps: ApprovalDependencies): ApprovalService {
  const reactions = new Map<string, DecisionReaction>()
  const timesOf = (kind: string): ApprovalTimes => ({ ...APPROVAL_TIMES[kind as ApprovalKind], ...deps.times })

  async function settle(trx: Trx, approval: ApprovalRow, status: string, by: string, reason: string, correlationId: string): Promise<ApprovalRow> {
    const now = deps.now()
    if (!await settleApproval(trx, approval.id, { status, decided_by: by, decided_at: now, decision_reason: reason })) {
      throw new DomainError('already_decided', { kind: 'approval', id: approval.id, by: 'someone else', decision: 'decided meanwhile' })
    }
    await appendEvents(trx, [{
      type: 'approval:resolved', projectId: approval.project_id, subject: { kind: approval.subject_kind, id: approval.subject_id }, correlationId,
      data: { approvalId: approval.id, kind: approval.kind, status, decidedBy: by, reason },
    }])
    // Work may wait for it (an agent review that met a ceiling).
    signal(trx, 'work')
    return { ...approval, status, decided_by: by, decided_at: now, decision_reason: reason }
  }

  /** The one action that an approval authorises has been done. @throws already_decided when it was used before */
  async function use(trx: Trx, approval: ApprovalRow, correlationId: string): Promise<ApprovalRow> {
    const now = deps.now()
    if (!await useApproval(trx, approval.id, now)) throw new DomainError('already_decided', { kind: 'approval', id: approval.id, by: approval.decided_by, decision: 'used' })
    await appendEvents(trx, [{
      type: 'approval:used', projectId: approval.project_id, subject: { kind: approval.subject_kind, id: approval.subject_id }, correlationId,
      data: { approvalId: approval.id, kind: approval.kind, payloadHash: approval.payload_hash },
    }])
    return { ...approval, used_at: now }
  }

  const service: ApprovalService = {
    async request(trx, request) {
      const payload = canonicalJson(request.payload)
      const hash = hashPayload(request.payload)
      for (const open of await openApprovalsOf(trx, request.subject)) {
        if (open.kind !== request.kind) continue
        if (open.payload_hash === hash) return open.id
        await settle(trx, open, 'cancelled', 'swarm', 'what it was about has changed', request.correlationId)
      }
      const id = deps.makeId('approval')
      const now = deps.now()
      const times = timesOf(request.kind)
      await insertApproval(trx, {
        id, project_id: request.projectId, kind: request.kind, subject_kind: request.subject.kind, subject_id: request.subject.id, requester: request.requester,
        payload, payload_hash: hash, status: 'pending', decided_by: null, decided_at: null, decision_reason: null, yes_allowed: yesMayDecide(request.kind) && request.yesAllowed !== false ? 1 : 0, used_at: null,
        remind_at: now + times.remindMs, escalate_at: now + times.escalateMs, escalated_to: null, expires_at: now + times.expireMs, created_at: now,
      })
      await appendEvents(trx, [{
        type: 'approval:requested', projectId: request.projectId, subject: request.subject, correlationId: request.correlationId,
        data: { approvalId: id, kind: request.kind, payloadHash: hash, requester: request.requester, expiresAt: now + times.expireMs },
      }])
      return id
    },

    async grant(trx, request) {
      const hash = hashPayload(request.payload)
      const granted = await grantedApproval(trx, { ...request, payloadHash: hash, now: deps.now() })
      if (!granted) return { used: false, approvalId: await service.request(trx, request) }
      await use(trx, granted, request.correlationId)
      return { used: true, approvalId: granted.id }
    },

    async keepTime(trx) {
      const now = deps.now()
      const due = await dueApproval(trx, now)
      if (!due) return false
      const about = { projectId: due.project_id, subject: { kind: due.subject_kind, id: due.subject_id }, correlationId: `approval-${due.id}` }
      const data = { approvalId: due.id, kind: due.kind, expiresAt: due.expires_at }
      if (due.expires_at !== null && due.expires_at <= now) {
        const lapsed = await settle(trx, due, 'expired', 'swarm', 'nobody decided it in time', about.correlationId)
        await reactions.get(due.kind)?.expired?.(trx, { id: due.id, kind: due.kind, subjectKind: due.subject_kind, subjectId: due.subject_id, projectId: due.project_id, payload: JSON.parse(due.payload) as unknown, waitedMs: now - lapsed.created_at, correlationId: about.correlationId })
      } else if (due.escalate_at !== null && due.escalate_at <= now) {
        const { escalateTo } = timesOf(due.kind)
        await patchTimes(trx, due.id, { remind_at: null, escalate_at: null, escalated_to: escalateTo })
        await appendEvents(trx, [{ ...about, type: 'approval:escalated', data: { ...data, to: escalateTo } }])
      } else {
        await patchTimes(trx, due.id, { remind_at: null })
        await appendEvents(trx, [{ ...about, type: 'approval:reminded', data }])
      }
      return true
    },

    async cancelFor(trx, subject, reason, correlationId, kind) {
      for (const open of await openApprovalsOf(trx, subject)) if (kind === undefined || open.kind === kind) await settle(trx, open, 'cancelled', 'swarm', reason, correlationId)
    },

    onDecision(kind, reaction) {
      if (reactions.has(kind)) throw new Error(`approval kind ${kind} already has a reaction`)
      reactions.set(kind, reaction)
    },

    async decideByPolicy(trx, { approvalId, decision, policies, correlationId }) {
      const approval = await lockedApproval(trx, approvalId)
      if (approval?.status !== 'pending') return
      const by = policies.length === 0 ? 'policy' : `policy ${policies.join(', ')}`
      await service.decide(trx, { approvalId, decision, payloadHash: approval.payload_hash, reason: policies.length === 0 ? 'no policy permits it' : '', decidedBy: by, byYesFlag: false, byPolicy: true, correlationId })
    },

    async decide(trx, input) {
      const approval = await lockedApproval(trx, input.approvalId)
      if (!approval) throw new DomainError('not_found', { kind: 'approval', id: input.approvalId })
      if (approval.status !== 'pending') {
        if (approval.status === input.decision && approval.payload_hash === input.payloadHash) return approval
        throw new DomainError('already_decided', { kind: 'approval', id: approval.id, by: approval.decided_by, decision: approval.status })
      }
      if (approval.payload_hash !== input.payloadHash) throw new DomainError('payload_changed', { id: approval.id })
      if (approval.expires_at !== null && approval.expires_at <= deps.now()) throw new DomainError('already_decided', { kind: 'approval', id: approval.id, by: 'its time limit', decision: 'expired' })
      if (isPolicyKind(approval.kind) && input.decision === 'approved' && approval.requester === input.decidedBy) throw new DomainError('own_request', { kind: approval.kind, id: approval.id })
      if (input.byYesFlag && approval.yes_allowed !== 1) throw new DomainError('not_for_yes', { kind: approval.kind, id: approval.id })
      const decidedBy = input.byYesFlag ? `${input.decidedBy} (--yes)` : input.decidedBy
      // Used when the request that it lets through comes again.
      if (isPolicyKind(approval.kind)) return settle(trx, approval, input.decision, decidedBy, input.reason, input.correlationId)
      const reaction = reactions.get(approval.kind)
      if (!reaction) throw new Error(`nobody reacts to approvals of kind ${approval.kind}`)
      const about = {
        id: approval.id, kind: approval.kind, subjectKind: approval.subject_kind, subjectId: approval.subject_id, projectId: approval.project_id,
        payload: JSON.parse(approval.payload) as unknown, decidedBy, correlationId: input.correlationId,
      }
      if (reaction.heard && input.byPolicy !== true && !await reaction.heard(trx, { ...about, decision: input.decision, reason: input.reason })) return approval
      const decided = await settle(trx, approval, input.decision, decidedBy, input.reason, input.correlationId)
      if (input.decision !== 'approved') {
        await reaction.rejected(trx, { ...about, status: input.decision, reason: input.reason })
        return decided
      }
      await reaction.approved(trx, { ...about, payloadHash: approval.payload_hash })
      return await use(trx, decided, input.correlationId)
    },
  }
  return service
}
