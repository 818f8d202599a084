import type { TicketState } from './machine.ts'

/** What is known about a ticket that bears on why it does not move. Everything that is named is named by id, so that a person can look at it. */
export interface WaitFacts {
  readonly id: string
  readonly state: TicketState
  readonly holdReason: string | null
  /** Of these dependencies, those that are not done, in order. */
  readonly parents: readonly { readonly id: string; readonly title: string; readonly state: TicketState }[]
  /** Until its next try, ms; null when it may be tried. */
  readonly retryInMs: number | null
  /** What it waits for is the model API, which was overloaded. */
  readonly overloaded: boolean
  /** A runner still saves the work of an attempt that was stopped. */
  readonly attemptIsSaved: boolean
  readonly overlap: { readonly id: string; readonly title: string; readonly state: TicketState; readonly files: readonly string[] } | null
  readonly project: { readonly working: number; readonly limit: number }
  readonly installation: { readonly working: number; readonly limit: number }
  /** Those that are online, each with the reason why it has room for no further microVM, if it has none. */
  readonly runners: readonly { readonly name: string; readonly noRoom: string | null }[]
  /** Its agent's question that has no answer. */
  readonly question: { readonly id: string; readonly text: string } | null
  /** The approval that the spending of its session or project waits for. */
  readonly budgetApproval: string | null
  /** `reviewer`: what the agent reviewer that looks at it first waits for; '' when it reads. */
  readonly change: { readonly id: string; readonly approval: string | null; readonly reviewer?: string | null } | null
  /** Its place in the merge queue (1 = at work), and why the queue stands still. */
  readonly merge: { readonly position: number; readonly paused: string | null } | null
  /** Its check run, while no runner has taken it. */
  readonly check: { readonly id: string; readonly retryInMs: number | null; readonly failure: string | null } | null
}

/** Files and parents that a line names. */
const NAMED = 4

/** One line that a person understands, to be read after "it waits for"; null when the ticket moves, or is over. */
export function waitsFor(facts: WaitFacts): string | null {
  switch (facts.state) {
    case 'on_hold': return heldFor(facts)
    case 'in_review': return typeof facts.change?.reviewer === 'string' && facts.change.approval === null ? `the agent reviewer of its change ${facts.change.id}${facts.change.reviewer === '' ? '' : `, which waits for ${facts.change.reviewer}`}` : facts.change === null ? 'the decision about its change' : `the decision about its change ${facts.change.id}${facts.change.approval === null ? '' : `: swarm approval show ${facts.change.approval}`}`
    case 'merging': return mergeWait(facts)
    case 'verifying': return checkWait(facts)
    case 'ready': case 'changes_requested': return dispatchWait(facts)
    default: return null
  }
}

function heldFor(facts: WaitFacts): string {
  if (facts.question) return `an answer to ${facts.question.id} (${facts.question.text}): swarm question answer ${facts.question.id} "…"`
  if (facts.budgetApproval !== null) return `the decision about the budget: swarm approval show ${facts.budgetApproval}`
  return `a person: ${facts.holdReason ?? 'it is held'}`
}

function mergeWait(facts: WaitFacts): string | null {
  if (facts.merge?.paused != null) return `the merge queue, which is paused: ${facts.merge.paused}`
  if (facts.merge !== null && facts.merge.position > 1) return `its turn in the merge queue (${facts.merge.position - 1} before it)`
  return checkWait(facts)
}

function checkWait({ check, runners }: WaitFacts): string | null {
  if (!check) return null
  if (check.retryInMs !== null) return `the next try of its checks ${check.id} ${inTime(check.retryInMs)}${check.failure === null ? '' : ` (last: ${check.failure})`}`
  if (runners.length === 0) return `a runner for its checks ${check.id}: none is online`
  const full = noRoom(runners)
  if (full !== null) return `room for a microVM for its checks ${check.id}: ${full}`
  return `a free runner for its checks ${check.id}`
}

function dispatchWait(facts: WaitFacts): string {
  // What never comes by itself is said first.
  const never = facts.parents.find(({ state }) => state === 'cancelled')
  if (never) return `${named(never)}, which was cancelled and is never merged: cancel this one too, and create it again without that dependency if it is still wanted`
  const failed = facts.parents.find(({ state }) => state === 'failed' || state === 'on_hold')
  if (failed) return `${named(failed)} to be merged, which ${failed.state === 'failed' ? 'failed' : 'is on hold'}: swarm ticket why ${failed.id}`
  if (facts.parents.length > 0) return `${list(facts.parents.map((parent) => `${named(parent)}, ${parent.state}`), '; ')} to be merged`
  if (facts.attemptIsSaved) return 'its stopped attempt to be saved by the runner that holds it, or for the lease of that to end'
  if (facts.retryInMs !== null && facts.overloaded) return `the model API, which is overloaded: its next try ${inTime(facts.retryInMs)}`
  if (facts.retryInMs !== null) return `its next try ${inTime(facts.retryInMs)}`
  if (facts.overlap) return `${named(facts.overlap)}, ${facts.overlap.state}, which is expected to write ${list(facts.overlap.files, ', ')} as well`
  if (facts.project.working >= facts.project.limit) return `one of the ${facts.project.working} tickets that its project works on: ${facts.project.limit} at once are allowed`
  if (facts.installation.working >= facts.installation.limit) return `one of the ${facts.installation.working} tickets that are worked on: ${facts.installation.limit} at once are allowed`
  if (facts.runners.length === 0) return 'a runner: none is online (swarm runner list)'
  const full = noRoom(facts.runners)
  return full === null ? 'a free microVM' : `room for a microVM: ${full}`
}

/** What each host lacks; null when one has room. */
function noRoom(runners: WaitFacts['runners']): string | null {
  if (runners.some((runner) => runner.noRoom === null)) return null
  return list(runners.map((runner) => `host ${runner.name} has room for no further one (${runner.noRoom})`), '; ')
}

function named({ id, title }: { id: string; title: string }): string {
  return `${id} (${title})`
}

function list(items: readonly string[], separator: string): string {
  return items.length <= NAMED ? items.join(separator) : `${items.slice(0, NAMED).join(separator)} and ${items.length - NAMED} more`
}

function inTime(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  return seconds < 120 ? `in ${seconds} s` : `in ${Math.ceil(seconds / 60)} min`
}
