/** Kinds of approval: the gates at which a person decides. */
export const APPROVAL_KINDS = ['design_start', 'spec_approval', 'build_start', 'change_review', 'merge', 'delete', 'infrastructure', 'budget_breach', 'policy', 'protected_change'] as const
export type ApprovalKind = (typeof APPROVAL_KINDS)[number]

const HOUR_MS = 3_600_000

export interface ApprovalTimes {
  /** After it was asked for, ms: people are reminded, it goes to `escalateTo` besides, it lapses. */
  readonly remindMs: number; readonly escalateMs: number; readonly expireMs: number
  readonly escalateTo: 'developer' | 'admin'
}

const PLANNED: ApprovalTimes = { remindMs: 4 * HOUR_MS, escalateMs: 24 * HOUR_MS, expireMs: 7 * 24 * HOUR_MS, escalateTo: 'admin' }
const URGENT: ApprovalTimes = { remindMs: HOUR_MS, escalateMs: 4 * HOUR_MS, expireMs: 24 * HOUR_MS, escalateTo: 'admin' }

/** How long each kind waits. Silence is never consent: what lapses is not done, and what it was about waits in a safe state. */
export const APPROVAL_TIMES: Readonly<Record<ApprovalKind, ApprovalTimes>> = {
  design_start: PLANNED, spec_approval: PLANNED, build_start: PLANNED, change_review: PLANNED, merge: PLANNED, protected_change: PLANNED,
  budget_breach: { ...URGENT, expireMs: 72 * HOUR_MS }, delete: URGENT, infrastructure: URGENT, policy: URGENT,
}

/** Kinds that a policy may ask for before a person's action: who asked for it does not decide it, and it is used up when the same request comes again. */
export const POLICY_KINDS = ['policy', 'delete', 'infrastructure'] as const satisfies readonly ApprovalKind[]

export const APPROVAL_TRANSITIONS = {
  pending: ['approved', 'rejected', 'revision_requested', 'expired', 'cancelled'],
  approved: [],
  rejected: [],
  revision_requested: [],
  expired: [],
  cancelled: [],
} as const satisfies Record<string, readonly string[]>

/** Kinds that `--yes` may decide by itself, when what is shown needs no person's eyes: never budget, delete or infrastructure. */
const YES_APPROVES = ['design_start', 'spec_approval', 'build_start', 'merge'] as const satisfies readonly ApprovalKind[]

export function yesMayDecide(kind: string): boolean {
  return (YES_APPROVES as readonly string[]).includes(kind)
}

/** Whether `--yes` may decide a merge: something was checked, all of it passed, and nothing is left for a person to look at. */
export function isCleanMerge(merge: { readonly checks: readonly { readonly exitCode: number | null }[]; readonly warnings: readonly string[] }): boolean {
  return merge.checks.length > 0 && merge.checks.every((check) => check.exitCode === 0) && merge.warnings.length === 0
}

/** JSON with sorted keys and no white space, so that equal payloads have equal hashes (RFC 8785 for the values that we use). */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value as Record<string, unknown>).filter(([, v]) => v !== undefined)
    entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    return `{${entries.map(([key, v]) => `${JSON.stringify(key)}:${canonicalJson(v)}`).join(',')}}`
  }
  return JSON.stringify(value)
}
