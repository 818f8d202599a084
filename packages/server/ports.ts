import type { AttemptEvidence, EvidenceComment } from '@swarm/contract/agent-protocol.ts'
import type { MergePayload } from '@swarm/contract/endpoints/changes.ts'
import type { CheckWork, FailureClass, Stop, Work, WorkKey } from '@swarm/contract/runner-protocol.ts'
import type { Role } from '@swarm/core/policy/actions.ts'
import type { PlannedFile } from '@swarm/core/checks/image.ts'
import type { Trx } from './db/unit.ts'

/*
 * What the features hand to each other. Features never import each other: app.ts makes each and passes these on.
 * Everything that takes `trx` writes state and events in that one transaction and does no I/O besides.
 */

export type Evidence = Omit<AttemptEvidence, 'attemptId' | 'number'>

export interface PlannedTicket {
  readonly key: string; readonly title: string; readonly description: string
  readonly acceptance: readonly string[]; readonly scope: readonly string[]
  readonly requirements: readonly { readonly id: string; readonly text: string }[]
  readonly dependsOn: readonly string[]
  readonly storyPoints: number; readonly wave: number
  /** Name of a registered agent. */
  readonly agent: string
  /** Who ordered it, `<kind> <id>`; of those of a session whoever started its build. */
  readonly requestedBy?: string
}

/**
 * Offered by the tickets feature: changes the tickets of a session that is being built (features/tickets/replan.ts). Everything is
 * named by its key in the plan; `order` says what tickets that stay and are not started wait for now.
 */
export type TicketReplan = (trx: Trx, input: {
  projectId: string; repositoryId: string; sessionId: string; correlationId: string
  drop: readonly string[]; tickets: readonly PlannedTicket[]; order: ReadonlyMap<string, readonly string[]>
}) => Promise<{ /** Ids of the new ones by key. */ made: Map<string, string>; cancelled: readonly string[]; /** Dropped, but started meanwhile: they go on. */ left: readonly string[] }>

/** Offered by the tickets feature. */
export interface TicketCommands {
  /** Creates tickets and dependencies; those without unfinished dependencies are dispatched. Returns ids by key. */
  createMany(trx: Trx, input: { projectId: string; repositoryId: string; sessionId: string | null; tickets: readonly PlannedTicket[]; correlationId: string }): Promise<Map<string, string>>
  /** An attempt in gating or verifying did not pass: it is failed with its evidence, the ticket retries or waits for a person. */
  verificationFailed(trx: Trx, input: { attemptId: string; failureClass: FailureClass; reason: string; message: string; evidence: Evidence }): Promise<void>
  /** The gate let the attempt pass; its check run is queued now. */
  gatePassed(trx: Trx, input: { attemptId: string; gate: string }): Promise<void>
  /** Checks passed: attempt succeeded, ticket in review, its branch head recorded. `paths`: what its change touches. */
  verified(trx: Trx, input: { attemptId: string; paths?: readonly string[] }): Promise<void>
  /** in_review → merging. */
  enterMerge(trx: Trx, input: { ticketId: string; correlationId: string }): Promise<void>
  /** merging → done; dependents become claimable. `paths`: what the change really touched on main, at most 500. */
  merged(trx: Trx, input: { ticketId: string; sha: string; correlationId: string; paths?: readonly string[] }): Promise<void>
  /** merging | in_review → changes_requested, with the evidence that the next attempt gets (conflict, red merged tree, review). */
  returned(trx: Trx, input: {
    ticketId: string; failureClass: FailureClass; reason: string; evidence: Evidence; correlationId: string
    /** Where the next attempt starts: the candidate on the new main after a red merge, main itself after a conflict. Default: the ticket's own head and base. */
    start?: { baseSha: string; startSha: string }
  }): Promise<void>
  /** in_review → on_hold: a reviewer does not want its change. A retry offers the same head again. */
  rejected(trx: Trx, input: { ticketId: string; reason: string; correlationId: string }): Promise<void>
  /** Tickets that wait for a person since their last attempt, one of these, failed in this class go back to work: its cause is gone. Returns their ids. */
  resumeHeld(trx: Trx, input: { attemptIds: readonly string[]; failureClass: FailureClass; reason: string; correlationId: string }): Promise<string[]>
}

/**
 * Offered by the model feature: what its records say about an attempt that its runner reports as failed. `overload`: it ended
 * since the model API was overloaded; `holdReason`: the ceiling that it met and the approval that asks about it.
 */
export type ModelFacts = (trx: Trx, attemptId: string, failureClass: FailureClass) => Promise<{ overload?: { untilAskedMs: number } | undefined; holdReason?: string | undefined }>

/** Offered by the repositories and checks features, outside transactions. */
export interface RepositoryAccess {
  /** Commit of the default branch. */
  head(repositoryId: string): Promise<string>
  /** Points a ref of Swarm's own (refs/swarm/…) at a commit. */
  setRef(repositoryId: string, ref: string, sha: string): Promise<void>
  /** Commit of a ref, or null. */
  resolve(repositoryId: string, ref: string): Promise<string | null>
  /** What swarm.yml of this commit (or detection) says. */
  workPlan(repositoryId: string, commitSha: string): Promise<{
    setup: string | null; checks: readonly { name: string; command: string }[]; image: { packages: readonly string[]; npm: readonly string[]; files?: readonly PlannedFile[] }; setupInputs?: readonly string[]
    egressAllow: readonly string[]; limits: { cpu?: number; memoryMb?: number; diskMb?: number; minutes?: number; usd?: number }
  }>
}

/** Offered by the checks feature: what of a repository's files the microVM of a piece of work is made from. */
export interface WorkInputs {
  image(repositoryId: string, image: { readonly packages: readonly string[]; readonly npm: readonly string[]; readonly files?: readonly PlannedFile[] }): Promise<Work['image']>
  /**
   * The files that the setup command reads in this commit, and whether a layer may be made of them: only when main has the same.
   * @param commits.base a commit of main that the work is based on, where it has one; main as it is now counts too
   */
  layer(repositoryId: string, commits: { readonly commit: string; readonly base?: string }, plan: { readonly setup: string | null; readonly setupInputs?: readonly string[] | undefined }): Promise<Work['layer']>
}

export interface ApprovalRequest {
  readonly kind: string; readonly projectId: string
  readonly subject: { readonly kind: string; readonly id: string }
  readonly requester: string
  /** What the person is shown; its canonical hash is what is approved. */
  readonly payload: unknown
  /** False when what is shown needs a person's eyes, so that --yes may not decide it. Kinds that --yes never decides need not say so. */
  readonly yesAllowed?: boolean
  readonly correlationId: string
}
/** What a feature does in the transaction of the decision. A throw undoes the decision. */
export interface DecisionReaction {
  /** For kinds that take the word of several people: notes this one's, before anything is decided. False leaves the approval open, since more people must say the same. */
  heard?(trx: Trx, word: { id: string; projectId: string; payload: unknown; decision: 'approved' | 'rejected' | 'revision_requested'; reason: string; decidedBy: string; correlationId: string }): Promise<boolean>
  approved(trx: Trx, approval: { id: string; kind: string; subjectKind: string; subjectId: string; projectId: string; payload: unknown; payloadHash: string; decidedBy: string; correlationId: string }): Promise<void>
  rejected(trx: Trx, approval: { id: string; kind: string; subjectKind: string; subjectId: string; projectId: string; payload: unknown; status: 'rejected' | 'revision_requested'; reason: string; decidedBy: string; correlationId: string }): Promise<void>
  /** Nobody decided it in time: what it was about is put where it harms nothing and somebody can ask again. */
  expired?(trx: Trx, approval: { id: string; kind: string; subjectKind: string; subjectId: string; projectId: string; payload: unknown; waitedMs: number; correlationId: string }): Promise<void>
}
/** Offered by the approvals feature. */
export interface ApprovalCommands {
  /** Asks once per (kind, subject, payload): an open one with another payload is cancelled. Returns its id. */
  request(trx: Trx, request: ApprovalRequest): Promise<string>
  /** Open approvals about this subject (those of one kind, if it is named) are void: it has changed. */
  cancelFor(trx: Trx, subject: { kind: string; id: string }, reason: string, correlationId: string, kind?: string): Promise<void>
  /** Decides in the name of policies, without asking how many people approved. */
  decideByPolicy(trx: Trx, input: { approvalId: string; decision: 'approved' | 'rejected'; policies: readonly string[]; correlationId: string }): Promise<void>
  /** Registered once at start by the feature that asks. */
  onDecision(kind: string, reaction: DecisionReaction): void
}

/** Offered by the reviews feature to that of changes. */
export interface ReviewCommands {
  /** Puts a published head before its reviewers: the agent reviewer first where the project has one, then people, who are asked for the merge. */
  offer(trx: Trx, input: { projectId: string; payload: MergePayload; correlationId: string }): Promise<void>
  /** Asks again for the merge of the same head, as it was asked before; false when nobody ever was. */
  offerAgain(trx: Trx, input: { changeId: string; headSha: string; projectId: string; correlationId: string }): Promise<boolean>
  /** A decision about a merge is a review (`DecisionReaction`). */
  readonly heard: NonNullable<DecisionReaction['heard']>
  /** What was said about lines of the change and is not resolved, for the next attempt. */
  batch(trx: Trx, changeId: string): Promise<EvidenceComment[]>
}

/** One source of work behind /claim, /heartbeat, /complete, /fail, /release: attempts (tickets feature) and checks (checks feature). */
export interface WorkSource<W> {
  /** Takes the next work for this runner under a lease, or null. Same claimKey, same answer while it is held; one that takes nothing new gets no more than that. */
  claim(trx: Trx, runner: { id: string; name: string; isolates: boolean; takesNew: boolean }, claimKey: string): Promise<{ id: string; fence: number } | null>
  /** Everything the runner needs for it; reads outside the transaction are fine here (git, files). The token is minted here. */
  describe(id: string, fence: number): Promise<W>
  /** Extends leases; returns those that must stop. */
  heartbeat(trx: Trx, runnerId: string, holding: readonly (WorkKey & { vmId: string | null; activityAtMs: number | null })[]): Promise<Stop[]>
  /** Takes back all that this runner is recorded to hold: its process is a new one. */
  reconcile(trx: Trx, runnerId: string): Promise<void>
  /** Ends leases that ran out. Returns how many. */
  expire(trx: Trx, now: number): Promise<number>
}
export interface CheckSource extends WorkSource<CheckWork> {
  /** Takes note of a report about a run that this runner holds under this fence; false when it was there already. */
  recordStatus(trx: Trx, runnerId: string, report: { id: string; fence: number; sequence: number; vmId?: string | undefined }): Promise<boolean>
  complete(trx: Trx, runnerId: string, input: { id: string; fence: number; passed: boolean; results: unknown[] }): Promise<void>
  fail(trx: Trx, runnerId: string, input: { id: string; fence: number; failureClass: FailureClass; reason: string; message: string }): Promise<void>
}

/** Sends one mail of plain text: by SMTP, or into a folder (integrations/mailers). The same id is the same mail: its Message-ID is made from it. */
export interface Mailer {
  send(mail: { readonly id: string; readonly to: string; readonly subject: string; readonly text: string }): Promise<void>
}

/** Offered by the accounts feature. */
export interface Accounts {
  /** Id of an organisation by id or slug. @throws DomainError `not_found` */
  organizationId(db: Trx, idOrSlug: string): Promise<string>
  membershipsOf(userId: string): Promise<{ organizationId: string; role: Role }[]>
  /** Those that exist, in no order. */
  findUsers(ids: readonly string[]): Promise<{ id: string; email: string; name: string }[]>
  /** Users of an organisation with exactly this role who are not disabled. */
  usersWithRole(organizationId: string, role: Role): Promise<{ id: string; email: string; name: string }[]>
}
