/*
 * What the rules look at: rows, refs and events of one moment, as plain values. Times are ms since the epoch, money is
 * micro-dollars. Whoever reads them (packages/server/features/integrity) decides nothing.
 */

export type InvariantId = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I8' | 'I9' | 'I10'

export interface Finding {
  readonly invariant: InvariantId
  readonly subject: { readonly kind: string; readonly id: string }
  readonly message: string
  readonly evidence: Readonly<Record<string, unknown>>
  readonly repairable: boolean
}

export interface TicketFact {
  readonly id: string; readonly repositoryId: string; readonly state: string; readonly holdReason: string | null
  readonly fence: number; readonly attemptCount: number; readonly branch: string; readonly updatedAt: number
}
export interface AttemptFact {
  readonly id: string; readonly ticketId: string; readonly number: number; readonly fence: number; readonly state: string; readonly runnerId: string | null
  readonly headSha: string | null; readonly wipSha: string | null; readonly leaseExpiresAt: number | null; readonly endedAt: number | null
  readonly failureReason: string | null
  /** Its runner was told to save and release it, and why. */
  readonly stopReason: string | null
}
/** The newest journaled state of a step of an attempt. */
export interface StepFact { readonly attemptId: string; readonly step: string; readonly state: string }
export interface ChangeFact {
  readonly id: string; readonly ticketId: string; readonly repositoryId: string; readonly branch: string; readonly state: string
  readonly headSha: string; readonly mergedSha: string | null; readonly updatedAt: number
}
export interface ApprovalFact {
  readonly id: string; readonly kind: string; readonly subjectKind: string; readonly subjectId: string; readonly status: string
  readonly payload: unknown; readonly payloadHash: string
  /** SHA-256 of the payload as it is stored now. */
  readonly payloadDigest: string
  readonly usedAt: number | null; readonly createdAt: number
}
export interface EntryFact {
  readonly changeId: string; readonly ticketId: string; readonly state: string; readonly headSha: string; readonly approvalId: string | null
  readonly checkId: string | null; readonly createdAt: number
}
export interface CheckFact {
  readonly id: string; readonly repositoryId: string; readonly purpose: string; readonly attemptId: string | null; readonly treeSha: string; readonly state: string
  readonly planDigest: string
  /** The run whose pass it rests on. */
  readonly reusedFrom: string | null
  readonly leaseExpiresAt: number | null; readonly endedAt: number | null
}
/** Changes that land on main together: `headSha` is what main became or becomes. */
export interface BatchFact { readonly id: string; readonly repositoryId: string; readonly state: string; readonly headSha: string; readonly checkId: string }
export interface CallFact {
  readonly id: string; readonly projectId: string; readonly sessionId: string | null; readonly attemptId: string | null; readonly model: string; readonly state: string
  readonly estimated: boolean; readonly reservedMicroUsd: number; readonly costMicroUsd: number | null
  readonly inputTokens: number | null; readonly outputTokens: number | null; readonly cacheReadTokens: number | null; readonly cacheWriteTokens: number | null
  readonly owner: string
  /** Whether the process that holds it lives, as far as this host can tell. */
  readonly ownerAlive: boolean
  readonly createdAt: number
}
export interface VmFact { readonly id: string; readonly runnerId: string; readonly workKind: string; readonly workId: string; readonly state: string }
export interface RunnerFact { readonly id: string; readonly seenAt: number | null }
export interface SessionFact { readonly id: string; readonly state: string; readonly maxCostMicroUsd: number | null }
/** `settings`: as they are stored now, by name. */
export interface ProjectFact { readonly id: string; readonly settings: Readonly<Record<string, unknown>> }
export interface QuestionFact { readonly id: string; readonly attemptId: string; readonly answered: boolean }
export interface DependencyFact { readonly ticketId: string; readonly dependsOnId: string }

/** One event of the log, in the order of `seq`. */
export interface EventFact {
  readonly seq: number; readonly type: string; readonly subjectKind: string; readonly subjectId: string
  readonly data: Readonly<Record<string, unknown>>; readonly at: number
}

/** One repository as git has it. */
export interface RepositoryFact {
  readonly id: string; readonly branch: string
  /** Ref name → commit, of refs/heads/swarm/ and refs/swarm/attempts/. */
  readonly refs: ReadonlyMap<string, string>
  readonly main: string | null
  /** Every move of main, oldest first, as its reflog has them; `at` in whole seconds, as ms. */
  readonly mainLog: readonly { readonly from: string; readonly to: string; readonly at: number }[]
  /** Commits that came from the origin, by the reflog of where fetches put them. */
  readonly fetched: ReadonlySet<string>
  /** Commit → its tree, for main's values. */
  readonly trees: ReadonlyMap<string, string>
  /** Recorded commits (heads, work in progress) that no ref of their own attempt contains: attempt → commits. */
  readonly unreachable: ReadonlyMap<string, readonly string[]>
}

/** What the model says that it served under one id of ours; under '' what it served to somebody who named none. */
export interface ServedFact {
  readonly callId: string
  /** Answers that held any tokens. */
  readonly answers: number
  readonly complete: boolean
  readonly inputTokens: number; readonly outputTokens: number; readonly cacheReadTokens: number; readonly cacheWriteTokens: number
  /** At the price of the call's model then; null when that has no price. */
  readonly costMicroUsd: number | null
}

export interface HostFact {
  readonly leftovers: readonly { readonly kind: string; readonly id: string; readonly slot: string; readonly vmId: string | null; readonly sinceMs: number; readonly problem: string; readonly recorded: boolean }[]
  readonly liveVms: readonly string[]
}

export interface Facts {
  readonly tickets: readonly TicketFact[]; readonly dependencies: readonly DependencyFact[]
  readonly attempts: readonly AttemptFact[]; readonly steps: readonly StepFact[]; readonly questions: readonly QuestionFact[]
  readonly changes: readonly ChangeFact[]; readonly approvals: readonly ApprovalFact[]; readonly entries: readonly EntryFact[]; readonly batches: readonly BatchFact[]
  /** Changes that an agent reviewer looks at before people are asked. */
  readonly reviewing: readonly string[]
  readonly checks: readonly CheckFact[]; readonly calls: readonly CallFact[]; readonly vms: readonly VmFact[]; readonly runners: readonly RunnerFact[]
  readonly sessions: readonly SessionFact[]; readonly projects: readonly ProjectFact[]
  readonly repositories: readonly RepositoryFact[]
  /** Null: the model's log is not there. */
  readonly served: readonly ServedFact[] | null
  readonly host: HostFact
  /** Until when somebody was there to act: now while a server runs, else the last trace that it left. */
  readonly asOf: number
  /** Now: what a host finds is judged by it. */
  readonly now: number
  /** True: what follows the database after a moment must have followed. */
  readonly settled: boolean
  /** Rows that are older were written before every change had an event. */
  readonly completeSince: number
}

/** What may outlive its owner for this long is not outliving it, ms (I6). */
export const GRACE_MS = 30_000
