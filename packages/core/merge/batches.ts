/*
 * The merge queue's decisions. A batch is one candidate for main: the changes of its members, one rebased upon the other.
 *
 *   checking   the candidate, its members and their one check run are recorded
 *   landed     main moved to the candidate, and every member is recorded as merged
 *   red        the checks failed on a green base: a batch of one was guilty, a larger one is bisected
 *   dissolved  it will not land (main moved, a member left, the queue paused): its members wait for the next one
 */
export const BATCH_TRANSITIONS = {
  checking: ['landed', 'red', 'dissolved'],
  landed: [],
  red: [],
  dissolved: [],
} as const satisfies Record<string, readonly string[]>
export type BatchState = keyof typeof BATCH_TRANSITIONS
export const BATCH_STATES = Object.keys(BATCH_TRANSITIONS) as [BatchState, ...BatchState[]]

/** States of a change's entry in the queue. A live one is `queued`, or `checking` as a member of the batch that it names. */
export const ENTRY_TRANSITIONS = {
  queued: ['checking', 'merged', 'returned', 'cancelled'],
  checking: ['queued', 'merged', 'returned', 'cancelled'],
  merged: ['queued'],
  returned: ['queued'],
  cancelled: ['queued'],
} as const satisfies Record<string, readonly string[]>
export type EntryState = keyof typeof ENTRY_TRANSITIONS

interface Waiting { readonly changeId: string; readonly headSha: string }

/** Those of a red batch that the guilt may lie with: none when it had one member, which was guilty and is gone. */
export function suspectsOf<T extends Waiting>(waiting: readonly T[], lastRed: readonly Waiting[]): T[] {
  if (lastRed.length < 2) return []
  return waiting.filter((entry) => lastRed.some((member) => member.changeId === entry.changeId && member.headSha === entry.headSha))
}

/**
 * Who is tried together next, out of those that wait in order. While a red batch is bisected: the first half of what is left
 * of it, so that each run halves the suspects, and the last one is tried alone. Otherwise as many as the batch may hold.
 */
export function nextMembers<T extends Waiting>(waiting: readonly T[], lastRed: readonly Waiting[], size: number): T[] {
  const suspects = suspectsOf(waiting, lastRed)
  return suspects.length === 0 ? waiting.slice(0, size) : suspects.slice(0, Math.ceil(suspects.length / 2))
}

/** What is known about an entry when it is to land: its ticket, its change and the approval that put it into the queue. */
export interface LandingFacts {
  readonly headSha: string
  readonly ticketState: string
  readonly change: { readonly id: string; readonly state: string; readonly headSha: string }
  readonly approval: { readonly status: string; readonly changeId: string; readonly headSha: string } | null
}
export type Refusal = { readonly kind: 'left' | 'not_approved'; readonly reason: string }

/** Why a change may not land, or null: it lands only as what a person was shown, and only while its ticket is being merged. */
export function refusalToLand(facts: LandingFacts): Refusal | null {
  const { headSha, change, approval } = facts
  if (facts.ticketState !== 'merging') return { kind: 'left', reason: 'the ticket was taken out of the queue' }
  if (change.state !== 'open' || change.headSha !== headSha) return { kind: 'not_approved', reason: 'the change is no longer what was queued' }
  if (approval?.status !== 'approved' || approval.changeId !== change.id || approval.headSha !== headSha) return { kind: 'not_approved', reason: 'its approval is not for this head' }
  return null
}
