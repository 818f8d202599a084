import type { ReviewRule } from '@swarm/core/review/verdicts.ts'
import type { DesignRequest } from '@swarm/core/design/chunks.ts'
import type { Database } from '../../db/database.ts'
import type { Trx } from '../../db/unit.ts'
import type { Principal } from '../../http/tokens.ts'
import type { ApprovalCommands, TicketCommands } from '../../ports.ts'
import type { Db } from './queries.ts'

/** What the reviews feature is given by others (platform.ts). */
export interface ReviewDependencies {
  readonly db: Database
  readonly now: () => number
  readonly makeId: (kind: 'review' | 'comment') => string
  readonly tickets: Pick<TicketCommands, 'returned'>
  readonly approvals: Pick<ApprovalCommands, 'request' | 'decideByPolicy'> & {
    /** Of the approvals feature: the first decision wins. Errors: `already_decided`, `payload_changed`, and those of the action. */
    decide(trx: Trx, input: { approvalId: string; decision: 'approved' | 'rejected' | 'revision_requested'; payloadHash: string; reason: string; decidedBy: string; byYesFlag: boolean; correlationId: string }): Promise<unknown>
  }
  /** Of the repositories feature. Errors: `not_found`. */
  readonly locate: (repositoryId: string) => Promise<{ path: string }>
  /** The setting `review` of a project. */
  readonly ruleOf: (db: Db, projectId: string) => Promise<ReviewRule>
  /** What the policies say of the agent's wish to merge this. */
  readonly mergePolicy: (trx: Trx, change: { changeId: string; ticketId: string }) => Promise<{ outcome: 'allow' | 'deny' | 'approval'; policies: readonly string[] }>
  /** Whether this principal may decide merges: only then does its approval count. */
  readonly mayMerge: (principal: Principal, projectId: string) => Promise<boolean>
  /** Through the model gateway, which reserves, retries, settles and records it. Resolves with a Messages API response. */
  readonly callModel: (request: DesignRequest & { readonly model: string }, about: { step: string; projectId: string; sessionId: string | null; ticketId: string; correlationId: string; signal: AbortSignal }) => Promise<unknown>
  readonly model: string
  /** Who serves it: anthropic, rehearsal or compatible. */
  readonly servedBy: string
  readonly onError: (error: unknown, what: string) => void
}
