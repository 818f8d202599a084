/*
 * What a review says, and what follows from it. A review that decides is a decision about the merge approval: there is no
 * second way. `decision` is that of the approval; `ticket` what its ticket becomes once it is decided.
 */
export const VERDICTS = {
  /** Counts towards the number of people that the project asks for; the last of them decides. */
  approve: { decision: 'approved', ticket: 'merging' },
  /** Back to the agent, on the same branch, with every comment. */
  request_changes: { decision: 'revision_requested', ticket: 'changes_requested' },
  /** Not wanted like this, and no agent is to go on by itself: held, since a person can undo that; to cancel is a word of its own. */
  reject: { decision: 'rejected', ticket: 'on_hold' },
  /** Words alone: nothing is decided. */
  comment: { decision: null, ticket: null },
} as const satisfies Record<string, { decision: 'approved' | 'revision_requested' | 'rejected' | null; ticket: string | null }>

export type Verdict = keyof typeof VERDICTS
export const VERDICT_NAMES = Object.keys(VERDICTS) as [Verdict, ...Verdict[]]

/** The verdict of somebody who decides the approval itself. */
export function verdictOf(decision: 'approved' | 'revision_requested' | 'rejected'): Verdict {
  return VERDICT_NAMES.find((verdict) => VERDICTS[verdict].decision === decision) ?? 'comment'
}

/** How the reviews of a project go (its setting `review`). */
export interface ReviewRule { readonly people: number; readonly agent: 'off' | 'advise' | 'require'; readonly minimumScore: number; readonly notAuthor: boolean }

/** Rounds in which the agent reviewer may send one change back; then a person decides. */
export const AGENT_ROUNDS = 2

export interface AgentOpinion { readonly score: number; readonly verdict: 'approve' | 'request_changes' }

/** Whether the agent reviewer is content: its verdict, and the score that the project wants. */
export function isContent(rule: Pick<ReviewRule, 'minimumScore'>, opinion: AgentOpinion): boolean {
  return opinion.verdict === 'approve' && opinion.score >= rule.minimumScore
}

/** What follows from an agent's review: back to the agent that wrote it, or on to people. It never approves. @param rounds times that it sent this change back before */
export function afterAgentReview(rule: Pick<ReviewRule, 'agent' | 'minimumScore'>, opinion: AgentOpinion, rounds: number): 'return' | 'ask_people' {
  return rule.agent === 'require' && !isContent(rule, opinion) && rounds < AGENT_ROUNDS ? 'return' : 'ask_people'
}
