import type { CheckPlan } from '@swarm/core/checks/plan.ts'
import type { Database } from '../../db/database.ts'
import type { Trx } from '../../db/unit.ts'
import type { ApprovalCommands, ReviewCommands, TicketCommands } from '../../ports.ts'

export interface SealedPlan { readonly text: string; readonly digest: string }
export interface ScopedPlan extends CheckPlan { readonly scope: { readonly protect: readonly string[]; readonly generated: readonly string[] }; readonly source: string }

/** What the changes feature is given by others (app.ts). */
export interface ChangeDependencies {
  readonly db: Database
  readonly now: () => number
  readonly makeId: (kind: 'change' | 'batch') => string
  readonly tickets: TicketCommands
  readonly approvals: ApprovalCommands
  readonly reviews: ReviewCommands
  /** Most changes of a repository that are checked and merged together. */
  readonly batchSize: number
  /** Of the repositories feature. Errors: `not_found`. */
  readonly locate: (repositoryId: string) => Promise<{ id: string; projectId: string; path: string; defaultBranch: string }>
  /** Of the checks feature. */
  readonly checks: {
    enqueue(trx: Trx, check: {
      projectId: string; repositoryId: string; purpose: 'attempt' | 'merge' | 'base'; attemptId?: string | null; changeId?: string | null; ticketId?: string | null
      commitSha: string; treeSha: string; plan: SealedPlan; correlationId: string
    }): Promise<{ id: string; state: string }>
    /** Ends a run that nobody waits for any more; one that has ended stays as it is. */
    cancel(trx: Trx, id: string, reason: string): Promise<void>
    /** Plan at `base`; `change` is looked at only when the base holds nothing to run. Errors: `swarm_yml_invalid`. */
    readPlan(path: string, base: string, change?: string): Promise<ScopedPlan>
    sealPlan(plan: CheckPlan): SealedPlan
    /** Results of a run's row. */
    readResults(row: { results: string | null }): { results: readonly { name: string; command: string; exitCode: number | null; timedOut: boolean; wallMs: number; output: string }[]; reusedFrom: string | null }
    failedOutput(row: { results: string | null }): string
  }
}
