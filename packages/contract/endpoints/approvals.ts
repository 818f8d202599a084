import { z } from 'zod'
import { APPROVAL_KINDS, APPROVAL_TRANSITIONS } from '@swarm/core/approvals/approval.ts'
import { endpoint, inParams, inQuery } from '../endpoint.ts'
import { pageOf, PageQuery, Time } from './shared.ts'

export const ApprovalStatus = z.enum(Object.keys(APPROVAL_TRANSITIONS) as [string, ...string[]])
export const Approval = z.object({
  id: z.string(), projectId: z.string(), kind: z.enum(APPROVAL_KINDS), subject: z.object({ kind: z.string(), id: z.string() }),
  requester: z.string(), payload: z.unknown(),
  /** SHA-256 of the canonical payload: exactly this is what a decision is about. */
  payloadHash: z.string(),
  status: ApprovalStatus, decidedBy: z.string().nullable(), decidedAt: Time.nullable(), reason: z.string().nullable(), usedAt: Time.nullable(),
  /** Whether `--yes` may decide it: the plan, the start of the build, and clean merges. */
  yesAllowed: z.boolean(),
  /** The role that it went to besides, when it had waited long. */
  escalatedTo: z.string().nullable(),
  /** When it lapses if nobody decides it. */
  expiresAt: Time.nullable(), createdAt: Time,
})
export type Approval = z.infer<typeof Approval>

export const listApprovals = endpoint({
  method: 'GET', path: '/api/hitl/approvals', access: ['person'], action: 'project:read', on: inQuery('project', 'projectId'), tag: 'approvals', summary: 'Lists approvals, newest first',
  query: PageQuery.extend({ status: ApprovalStatus.optional(), projectId: z.string().optional(), subjectId: z.string().optional() }), response: pageOf(Approval),
})
export const showApproval = endpoint({
  method: 'GET', path: '/api/hitl/approvals/:approvalId', access: ['person'], action: 'approval:read', on: inParams('approval', 'approvalId'), tag: 'approvals', summary: 'Shows an approval with all that it is about',
  params: z.object({ approvalId: z.string() }), response: Approval,
})
export const decideApproval = endpoint({
  method: 'POST', path: '/api/hitl/approvals/:approvalId/decision', access: ['person'], action: 'approval:decide', on: inParams('approval', 'approvalId'), tag: 'approvals',
  summary: 'Decides an approval: the first decision wins, the same one again is answered alike, another one is told who decided',
  params: z.object({ approvalId: z.string() }),
  body: z.object({
    decision: z.enum(['approved', 'rejected', 'revision_requested']),
    /** The payloadHash that was shown; another one is refused. */
    payloadHash: z.string(),
    reason: z.string().max(2_000).default(''),
    /** `yes-flag` when the CLI decided by --yes: recorded as such, and only where `yesAllowed`. */
    by: z.enum(['person', 'yes-flag']).default('person'),
  }),
  response: Approval,
})
