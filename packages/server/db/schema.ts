import type { Generated } from 'kysely'
import type {
  AuditEntriesTable, AuditOutcomesTable, DeviceCodesTable, GuessesTable, IdempotencyKeysTable, InvitationsTable, MailsTable, MembersTable, OrganizationsTable, PoliciesTable, ProjectMembersTable, SecretHostsTable, SecretsTable, TwoFactorsTable, UserCredentialsTable, UserSessionsTable, UsersTable, VerificationsTable, ViewsTable,
} from './schema-people.ts'

export type * from './schema-people.ts'

/*
 * Table types, one interface a table. Times are ms since the epoch, money is micro-dollars, JSON is text.
 * The shapes behind JSON columns are zod schemas in the feature that writes them.
 */

export interface ProjectsTable {
  id: string; slug: string; name: string
  /** Project settings (contract/endpoints/projects.ts ProjectSettings). */
  settings: string
  organization_id: Generated<string>
  created_at: number
}
export interface RepositoriesTable {
  id: string; project_id: string; slug: string; default_branch: string
  /** Where it was imported from (path or URL without credentials), or null for a new one. */
  origin: string | null
  created_at: number
}
export interface DesignSessionsTable {
  id: string; project_id: string; repository_id: string; title: string; state: string
  /** Commit of the default branch that the analysis and the plan are grounded in. */
  base_sha: string
  spec_version: number
  /** JSON {tickets:[…], findings:[…], waves:[…]} once there is a plan, and its SHA-256. */
  plan: string | null; plan_hash: string | null
  /** Ceiling for all model calls of this session and its tickets; null = none. */
  max_cost_micro_usd: number | null
  token_cap: number
  /** Label of the model provider that serves it: anthropic | rehearsal | compatible. */
  model_label: string
  failure: string | null
  /** Whether questions may still be asked: open | closed | off. */
  clarify: Generated<string>
  /** 0 while its start waits for a person. */
  may_start: Generated<number>
  /** JSON Coverage as the clarifier scored last. */
  coverage: string | null
  /** JSON StoredBase: the plan that a new version of the spec starts from; null where everything is planned. */
  base: string | null
  correlation_id: string
  created_at: number; updated_at: number
}
export interface SpecVersionsTable {
  session_id: string; version: number; markdown: string; parsed: string; hash: string
  /** `<kind> <id>` of the person, or `designer`; and why the version was made. */
  author: Generated<string>; reason: Generated<string>
  /** JSON SpecCard, of a version that the designer wrote. */
  card: string | null
  created_at: number
}
/** What a person was asked about a spec, one question at a time, and answered. */
export interface ClarificationsTable {
  session_id: string; number: number; question: string; area: string
  /** JSON string[]: likely answers; paths of the repository that it is about. */
  options: string; files: string
  /** JSON Coverage when it was asked. */
  coverage: string
  answer: string | null; answered_by: string | null; answered_at: number | null
  /** The version of the spec that the answer was given on: a later one has it in it. */
  answered_version: number | null
  /** What the clarifier took from the answer, in its words. */
  acknowledgement: string | null
  created_at: number
}
/** What was expected when a build was confirmed and, once it is complete, what it took. */
export interface BuildEstimatesTable {
  session_id: string; spec_version: number; project_id: string; model_label: string
  /** JSON Estimate. */
  estimate: string
  /** JSON {tokens, microUsd}: what the session's tickets had taken before. */
  spent_before: string
  /** JSON Comparison. */
  comparison: string | null
  confirmed_at: number; compared_at: number | null
}
export interface DesignStepsTable {
  session_id: string; step: string; request_digest: string; response: string
  cost_micro_usd: number; created_at: number
}
export interface TicketsTable {
  id: string; project_id: string; repository_id: string; session_id: string | null
  /** Key in the plan, e.g. `scoring`; unique within its session. */
  key: string
  title: string; description: string
  acceptance: string; scope: string; requirements: string
  /** JSON: the paths that this ticket is expected to write, a list or, with how likely each is, an object; tickets that overlap do not run together. */
  predicted_files: string
  /** How many of its dependencies are not done yet: counted at its creation, one less at each merge of a parent. Derived; only then can it be claimed. */
  open_dependencies: Generated<number>
  agent_name: string
  state: string; hold_reason: string | null
  priority: number; wave: number; story_points: number
  fence: number
  attempt_count: number
  /** JSON: failures counted per class since the last redrive. */
  failure_counts: string
  /** Not dispatched before this time. */
  retry_at: number | null
  branch: string; head_sha: string | null
  /** Where the next attempt starts, when not from the head of the default branch: commit and the base its diff is read against. */
  next_base_sha: string | null; next_start_sha: string | null
  /** JSON AttemptEvidence[]: what went wrong so far, handed to the next attempt. */
  evidence: string
  ready_at: number | null
  created_at: number; updated_at: number
  /** Who ordered it outside of a design session, `<kind> <id>`. */
  requested_by: string | null
}
export interface TicketDependenciesTable { ticket_id: string; depends_on_id: string }
/** How often two files of a repository changed in one merged change; with itself: how often the file changed at all. */
export interface FilePairsTable { repository_id: string; path: string; other_path: string; together: number }
export interface AttemptsTable {
  id: string; ticket_id: string; project_id: string; number: number; fence: number
  /** running | parked | gating | verifying | succeeded | failed | released | cancelled */
  state: string
  agent_name: string; agent_version: number
  runner_id: string | null; claim_key: string | null; vm_id: string | null
  correlation_id: string
  base_sha: string; start_sha: string; head_sha: string | null; wip_sha: string | null
  summary: string | null
  lease_expires_at: number | null; deadline_at: number; activity_at: number | null
  status_sequence: number
  /** stalled | stopped: the server, or a person, wants the runner to stop. It saves the work, then fails the attempt or gives it back. */
  stop_code: string | null
  /** Why, in words; a person's are free. */
  stop_reason: string | null
  failure_class: string | null; failure_reason: string | null; failure_message: string | null
  /** JSON AttemptEvidence for the next attempt. */
  evidence: string | null
  gate: string | null
  created_at: number; ended_at: number | null
}
export interface AttemptStepsTable { attempt_id: string; fence: number; step: string; state: string; wall_ms: number | null; detail: string | null; at: number }
export interface QuestionsTable {
  id: string; attempt_id: string; ticket_id: string; project_id: string; text: string; options: string
  tool_use_id: string
  /** Digest of the transcript blob. */
  transcript_digest: string
  answer: string | null; answered_by: string | null; created_at: number; answered_at: number | null
}
export interface RunnersTable {
  id: string; name: string; boot_id: string | null; driver: string | null; isolates: number | null; capacity: number; seen_at: number | null; created_at: number
  /** Why it has room for no further microVM, in its words. */
  no_room: string | null
  /** Since when it is given no new work, who wanted that, and why. */
  draining_at: Generated<number | null>; draining_by: Generated<string | null>; draining_reason: Generated<string | null>
  /** It was taken away: its token is revoked, its history stays. Registering its name brings it back. */
  removed_at: Generated<number | null>
}
export interface RunnerBootsTable { runner_id: string; boot_id: string; created_at: number }
export interface VmsTable {
  id: string; runner_id: string; work_kind: string; work_id: string; ticket_id: string | null; project_id: string
  driver: string; template_key: string
  /** SHA-256 (hex) of the guest image; null for a driver without one. */
  image_digest: string | null
  state: string; restore_ms: number | null; end_reason: string | null; end_detail: string | null
  /** JSON VmSize and VmHeldTo (contract/runner-protocol.ts). */
  size: string | null; limits: string | null
  /** Of one that was forked from another. */
  parent_id: string | null
  /** 1 while a person has it stand still. */
  paused: Generated<number>
  started_at: number; ended_at: number | null
}
interface VmMeasured {
  cpu_ms: number; rss_bytes: number; pss_bytes: number; scratch_bytes: number; egress_bytes: number; open_forwards: number; uptime_ms: number; paused: number
  /** Cores in thousandths since the measurement before. */
  cpu_millicores: number
}
/** What a microVM uses now, or used last. `kept_at`: when its last sample was kept. */
export interface VmUsageTable extends VmMeasured { vm_id: string; sampled_at: number; kept_at: number; peak_rss_bytes: number }
/** What it used over time; removed by retention. */
export interface VmSamplesTable extends VmMeasured { vm_id: string; at: number }
/** What a person had done to a microVM. What it printed is not in it. */
export interface VmOperationsTable {
  id: string; vm_id: string; runner_id: string; kind: string
  /** JSON OperationInput (contract/vm-operations.ts). */
  input: string
  /** queued | running | done | failed | expired */
  state: string
  requested_by: string; reason: string | null; exit_code: number | null; failure: string | null
  correlation_id: string
  /** Nobody carries it out, or waits for its end, after this. */
  created_at: number; expires_at: number; ended_at: number | null
}
/** The sealed evidence of a merged change: the blob that holds the signed envelope, and the key that signed it. */
export interface EvidenceBundlesTable { change_id: string; project_id: string; digest: string; key_id: string; sealed_at: number }
/** Public keys (PEM) that ever signed evidence of this installation; never removed, so that what they signed stays verifiable. */
export interface EvidenceKeysTable { id: string; public_key: string; created_at: number }
/** What a runner was given for one stay of an attempt (one fence): the blob of the work, without its token. */
export interface AttemptRecordingsTable { attempt_id: string; fence: number; work_digest: string; created_at: number }
export interface AgentsTable { id: string; name: string; version: number; created_at: number; updated_at: number }
/** Immutable: an edit makes a new version. `definition` is JSON AgentDefinition. */
export interface AgentVersionsTable { name: string; version: number; definition: string; created_at: number }
export interface ApprovalsTable {
  id: string; project_id: string; kind: string; subject_kind: string; subject_id: string; requester: string
  payload: string; payload_hash: string
  /** pending | approved | rejected | revision_requested | expired | cancelled */
  status: string
  decided_by: string | null; decided_at: number | null; decision_reason: string | null
  /** 1 when --yes may decide it, 0 when only a person may. */
  yes_allowed: number
  /** When the one action that it authorises was taken; of a merge: when it put the change into the merge queue. */
  used_at: number | null
  /** While it waits: when people are reminded, and when it goes to `escalated_to`; null once it happened. */
  remind_at: number | null; escalate_at: number | null; escalated_to: string | null
  expires_at: number | null; created_at: number
}
export interface ChangesTable {
  id: string; project_id: string; repository_id: string; ticket_id: string; branch: string
  title: string; body: string
  /** open | merged | closed */
  state: string
  base_sha: string; head_sha: string; merged_sha: string | null
  evidence: string
  created_at: number; updated_at: number
}
/** What somebody said about a change as a whole, once; never changed. Features/reviews. */
export interface ChangeReviewsTable {
  id: string; change_id: string; project_id: string
  /** The merge approval that it speaks about: an approving review counts for that one alone. Null when nobody was asked at that moment. */
  approval_id: string | null
  head_sha: string; reviewer: string
  /** person | agent */
  kind: string
  /** Core/review/verdicts.ts. */
  verdict: string
  /** 1 when it counts towards the people who must approve. */
  counts: number
  summary: string; score: number | null
  /** JSON string[]. */
  reasons: string
  /** 1 when the agent reviewer sent the change back with it. */
  returned: number
  correlation_id: string; created_at: number
}
/** Comments on lines (with a parent: an answer to one). A draft has no `sent_at`. */
export interface ChangeCommentsTable {
  id: string; change_id: string; project_id: string; review_id: string | null; parent_id: string | null; author: string
  /** Commits in which the lines have these numbers: side `old` means base_sha, `new` head_sha. */
  base_sha: string; head_sha: string; path: string; side: string; start_line: number; line: number
  quoted: string; body: string
  resolved_by: string | null; resolved_at: number | null; sent_at: number | null; created_at: number
}
/** A head that the agent reviewer is to look at before people are asked. `payload`: what they will be asked, without its opinion. */
export interface AgentReviewsTable {
  change_id: string; head_sha: string; project_id: string
  /** pending | done */
  state: string
  payload: string
  tries: number; retry_at: number | null
  /** It met a ceiling: it goes on when this approval is decided. */
  waits_approval_id: string | null
  failure: string | null
  /** The process that works on it, until its lease ends. */
  owner: string | null; lease_expires_at: number | null
  correlation_id: string; created_at: number
}
/** Answers of the model, so that none is paid twice. */
export interface AgentReviewStepsTable { change_id: string; head_sha: string; step: string; request_digest: string; response: string; created_at: number }
export interface CheckRunsTable {
  id: string; project_id: string; repository_id: string
  /** attempt | merge | base */
  purpose: string
  attempt_id: string | null; change_id: string | null; ticket_id: string | null
  commit_sha: string; tree_sha: string
  /** JSON {setup, checks:[{name, command}], image, limits, egressAllow}, read from the base commit, and its digest. */
  plan: string; plan_digest: string
  /** queued | running | passed | failed | error | cancelled */
  state: string
  fence: number; tries: number
  runner_id: string | null; claim_key: string | null; vm_id: string | null
  lease_expires_at: number | null; status_sequence: number
  results: string | null; failure: string | null
  correlation_id: string
  created_at: number; started_at: number | null; ended_at: number | null
}
export interface MergeEntriesTable {
  change_id: string; repository_id: string; ticket_id: string; head_sha: string
  /** queued | checking | merged | returned | cancelled */
  state: string
  base_sha: string | null; candidate_sha: string | null; check_id: string | null
  losses: number; approval_id: string | null; reason: string | null
  /** The batch that it is, or last was, a member of; base, candidate and check are that batch's. */
  batch_id: string | null
  created_at: number; updated_at: number
}
/** Changes that are checked together and land together (core/merge/batches.ts has the states). A row never changes but in state, reason and end. */
export interface MergeBatchesTable {
  id: string; project_id: string; repository_id: string
  state: string
  /** Main when it was built, and the candidate: what main becomes. */
  base_sha: string; head_sha: string
  /** JSON BatchMember[], in the order in which they are rebased. */
  members: string
  check_id: string
  reason: string | null
  correlation_id: string
  created_at: number; ended_at: number | null
}
/** A queue that is stopped and why (red base, three lost races, a person). */
export interface MergeQueuesTable { repository_id: string; paused_reason: string | null; updated_at: number }
export interface ModelCallsTable {
  id: string; project_id: string; session_id: string | null; ticket_id: string | null; attempt_id: string | null
  role: string; step: string | null
  provider: string; model: string
  /** open | settled | refused */
  state: string
  /** 1 when the cost is the whole reservation of a cut stream. */
  estimated: number
  reserved_micro_usd: number; cost_micro_usd: number | null
  /** Input (cached or not) and output together: set aside before the call, recorded after it. */
  reserved_tokens: number; tokens: number | null
  /** Of a refused call: the ceiling that it met, `<kind>/<id>/<unit>`, and the approval that asks about it. */
  ceiling: string | null; approval_id: string | null
  input_tokens: number | null; output_tokens: number | null; cache_read_tokens: number | null; cache_write_tokens: number | null
  status: number | null; tries: number
  request_digest: string | null; response_digest: string | null
  correlation_id: string
  /** Process that holds the call: `<boot id>`; calls of a dead process are settled at start. */
  owner: string
  created_at: number; ended_at: number | null
}
/**
 * Ceilings of sessions (tokens), tickets and attempts. Kind `ticket_attempts`: what each later attempt of this ticket may use,
 * where a person raised it. The money of a session is in design_sessions, what holds for a project in its settings.
 */
export interface BudgetCeilingsTable { kind: string; id: string; unit: string; cap: number; updated_at: number }
/** Which part of which value of a ceiling people were told of. */
export interface BudgetThresholdsTable { kind: string; id: string; unit: string; cap: number; percent: number; at: number }
export interface TokensTable {
  id: string; kind: string; subject_id: string; hash: string; fence: number | null
  expires_at: number | null; revoked_at: number | null; created_at: number
  /** Of API keys: what their user calls them, JSON string[] of scopes, when they were last used, to the minute, and the key that took their place. */
  name: string | null; scopes: string | null; last_used_at: number | null; replaced_by: string | null
}
export interface EventsTable {
  seq: Generated<number>; type: string; project_id: string | null; subject_kind: string; subject_id: string
  data: string; correlation_id: string; at: number
}
export interface MetaTable { key: string; value: string }

export interface Schema {
  projects: ProjectsTable; repositories: RepositoriesTable
  design_sessions: DesignSessionsTable; spec_versions: SpecVersionsTable; design_steps: DesignStepsTable; clarifications: ClarificationsTable; build_estimates: BuildEstimatesTable
  tickets: TicketsTable; ticket_dependencies: TicketDependenciesTable; file_pairs: FilePairsTable
  attempts: AttemptsTable; attempt_steps: AttemptStepsTable; questions: QuestionsTable
  runners: RunnersTable; runner_boots: RunnerBootsTable; vms: VmsTable; vm_usage: VmUsageTable; vm_samples: VmSamplesTable; vm_operations: VmOperationsTable; agents: AgentsTable; agent_versions: AgentVersionsTable
  approvals: ApprovalsTable; changes: ChangesTable; check_runs: CheckRunsTable
  merge_entries: MergeEntriesTable; merge_batches: MergeBatchesTable; merge_queues: MergeQueuesTable
  model_calls: ModelCallsTable; tokens: TokensTable; budget_ceilings: BudgetCeilingsTable; budget_thresholds: BudgetThresholdsTable
  evidence_bundles: EvidenceBundlesTable; evidence_keys: EvidenceKeysTable; attempt_recordings: AttemptRecordingsTable
  project_members: ProjectMembersTable; policies: PoliciesTable; idempotency_keys: IdempotencyKeysTable; audit_entries: AuditEntriesTable; audit_outcomes: AuditOutcomesTable
  users: UsersTable; user_sessions: UserSessionsTable; user_credentials: UserCredentialsTable; verifications: VerificationsTable; two_factors: TwoFactorsTable; device_codes: DeviceCodesTable
  organizations: OrganizationsTable; members: MembersTable; invitations: InvitationsTable; guesses: GuessesTable; mails: MailsTable
  change_reviews: ChangeReviewsTable; change_comments: ChangeCommentsTable; agent_reviews: AgentReviewsTable; agent_review_steps: AgentReviewStepsTable
  secrets: SecretsTable; secret_hosts: SecretHostsTable
  views: ViewsTable
  events: EventsTable; meta: MetaTable
}
