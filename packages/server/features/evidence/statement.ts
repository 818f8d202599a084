import { PREDICATE_TYPE, STATEMENT_TYPE, type EvidencePredicate, type EvidenceStatement } from '@swarm/contract/evidence.ts'
import { sha256 } from '@swarm/contract/evidence-envelope.ts'
import { canonicalJson } from '@swarm/core/approvals/approval.ts'
import { transcriptDigest } from '@swarm/core/evidence/consistency.ts'
import type { Read } from '../../db/database.ts'
import { checksById, passOfTree, ticketFacts, vmsOfWork, type ChangeRow, type CheckRow } from './queries.ts'

/** What the feature is given by others (platform.ts). */
export interface StatementDependencies {
  readonly read: Read
  readonly version: string
  readonly now: () => number
  readonly project: (id: string) => Promise<{ id: string; slug: string }>
  readonly repository: (id: string) => Promise<{ id: string; slug: string; path: string; defaultBranch: string }>
  readonly treeOf: (path: string, commit: string) => Promise<string>
  readonly readResults: (row: { results: string | null }) => { results: readonly { name: string; command: string; exitCode: number | null; timedOut: boolean; wallMs: number; output: string }[]; reusedFrom: string | null }
}

/** A statement with the texts that it names by digest and that are rows of the database so far, to be kept as blobs. */
export interface Collected { readonly statement: EvidenceStatement; readonly contents: readonly string[] }

/** Gathers the evidence of a merged change. Everything that it is about has ended, so that it may be gathered again at any time. */
export async function collectStatement(deps: StatementDependencies, change: ChangeRow): Promise<Collected> {
  const { read } = deps
  const { ticket, attempts, entry, checks: own, calls, approvals, agents, runners, reviews, comments } = await ticketFacts(read, change)
  const [project, repository] = [await deps.project(change.project_id), await deps.repository(change.repository_id)]
  const merged = change.merged_sha ?? change.head_sha
  const tree = await deps.treeOf(repository.path, merged)

  // The run of the merge itself; where nothing was left to merge, any pass of the same tree.
  const proof = own.find((check) => check.id === entry?.check_id) ?? await passOfTree(read, change.repository_id, tree)
  const known = new Map([...own, ...proof ? [proof] : []].map((check) => [check.id, check]))
  const reused = [...known.values()].flatMap((check) => deps.readResults(check).reusedFrom ?? []).filter((id) => !known.has(id))
  for (const check of await checksById(read, reused)) known.set(check.id, check)
  const checks = [...known.values()].sort((a, b) => a.created_at - b.created_at || (a.id < b.id ? -1 : 1))
  const vms = await vmsOfWork(read, [...attempts.map(({ id }) => id), ...checks.map(({ id }) => id)])

  const contents: string[] = []
  const keep = (text: string): string => {
    contents.push(text)
    return `sha256:${sha256(text)}`
  }
  const definitions = new Map(agents.map((row) => [`${row.name}@${row.version}`, row.definition]))
  const exchanges = calls.map((call) => ({
    callId: call.id, attemptId: call.attempt_id, role: call.role, provider: call.provider, model: call.model, status: call.status, tries: call.tries,
    costMicroUsd: call.cost_micro_usd ?? 0, estimated: call.estimated === 1, requestDigest: call.request_digest, responseDigest: call.response_digest, at: call.created_at,
  }))
  const distinct = (texts: readonly string[]): string[] => [...new Set(texts)].sort()
  const providers = distinct(exchanges.map(({ provider }) => provider))

  const predicate: EvidencePredicate = {
    swarmVersion: deps.version,
    project: { id: project.id, slug: project.slug }, repository: { id: repository.id, slug: repository.slug, defaultBranch: repository.defaultBranch },
    ticket: { id: ticket.id, title: ticket.title, requirements: (JSON.parse(ticket.requirements) as { id: string }[]).map(({ id }) => id) },
    change: { id: change.id, title: change.title, createdAt: change.created_at, mergedAt: change.updated_at },
    commits: { base: change.base_sha, head: change.head_sha, merged, tree, proof: proof ? { checkId: proof.id, commit: proof.commit_sha, tree: proof.tree_sha } : null },
    attempts: attempts.map((attempt) => {
      const definition = definitions.get(`${attempt.agent_name}@${attempt.agent_version}`)
      return {
        id: attempt.id, number: attempt.number, state: attempt.state,
        agent: { name: attempt.agent_name, version: attempt.agent_version, definitionDigest: definition === undefined ? null : keep(definition) },
        runner: attempt.runner_id === null ? null : { id: attempt.runner_id, name: runners.find(({ id }) => id === attempt.runner_id)?.name ?? null },
        vmIds: vms.filter((vm) => vm.work_id === attempt.id).map(({ id }) => id), baseSha: attempt.base_sha, startSha: attempt.start_sha, headSha: attempt.head_sha,
        failure: attempt.failure_class === null ? null : { failureClass: attempt.failure_class, reason: attempt.failure_reason },
        gateFindings: findingsOf(attempt), createdAt: attempt.created_at, endedAt: attempt.ended_at,
      }
    }),
    vms: vms.map((vm) => ({
      id: vm.id, workKind: vm.work_kind, workId: vm.work_id, runnerId: vm.runner_id, driver: vm.driver, templateKey: vm.template_key, imageDigest: vm.image_digest, startedAt: vm.started_at, endedAt: vm.ended_at,
    })),
    checks: checks.map((check) => present(check, deps, keep)),
    model: {
      rehearsal: providers.includes('rehearsal'), providers, models: distinct(exchanges.map(({ model }) => model)), calls: exchanges.length,
      costMicroUsd: exchanges.reduce((sum, { costMicroUsd }) => sum + costMicroUsd, 0), exchanges, transcriptDigest: transcriptDigest(exchanges, sha256),
    },
    approvals: approvals.map((row) => {
      keep(row.payload)
      return {
        id: row.id, kind: row.kind, subjectKind: row.subject_kind, subjectId: row.subject_id, status: row.status, payloadHash: row.payload_hash,
        ...(row.subject_kind === 'change' ? { payload: JSON.parse(row.payload) as unknown } : {}),
        decidedBy: row.decided_by, decidedAt: row.decided_at, reason: row.decision_reason, byYesFlag: row.decided_by?.endsWith('(--yes)') ?? false, usedAt: row.used_at,
      }
    }),
    reviews: reviews.map((row) => ({
      id: row.id, kind: row.kind as 'person' | 'agent', reviewer: row.reviewer, verdict: row.verdict, counts: row.counts === 1, headSha: row.head_sha, approvalId: row.approval_id, score: row.score,
      summaryDigest: keep([row.summary, ...JSON.parse(row.reasons) as string[]].filter((text) => text !== '').join('\n')), at: row.created_at,
      comments: comments.filter((comment) => comment.review_id === row.id).map((comment) => ({
        id: comment.id, path: comment.path, side: comment.side as 'old' | 'new', startLine: comment.start_line, line: comment.line, bodyDigest: keep(comment.body), resolvedBy: comment.resolved_by,
      })),
    })),
    sealedAt: deps.now(),
  }
  const subject: EvidenceStatement['subject'] = [{ name: `${project.slug}/${repository.slug}@${repository.defaultBranch}`, digest: { gitCommit: merged } }, { name: `${project.slug}/${repository.slug} tree`, digest: { gitTree: tree } }]
  // Through JSON once, so that what is signed is what a reader gets back.
  return { statement: JSON.parse(canonicalJson({ _type: STATEMENT_TYPE, subject, predicateType: PREDICATE_TYPE, predicate })) as EvidenceStatement, contents }
}

function present(check: CheckRow, deps: StatementDependencies, keep: (text: string) => string): EvidencePredicate['checks'][number] {
  const { results, reusedFrom } = deps.readResults(check)
  keep(check.plan)
  return {
    id: check.id, purpose: check.purpose, attemptId: check.attempt_id, commit: check.commit_sha, tree: check.tree_sha, state: check.state, planDigest: check.plan_digest, reusedFrom, vmId: check.vm_id,
    results: results.map(({ output, name, command, exitCode, timedOut, wallMs }) => ({ name, command, exitCode, timedOut, wallMs, outputDigest: keep(output) })),
    startedAt: check.started_at, endedAt: check.ended_at,
  }
}

/** What the gate said of an attempt: with its verdict when it let it pass, among the evidence of its failure when it did not. */
function findingsOf(attempt: { gate: string | null; evidence: string | null }): EvidencePredicate['attempts'][number]['gateFindings'] {
  const kept = attempt.gate ?? attempt.evidence
  if (kept === null) return null
  const { findings } = JSON.parse(kept) as { findings?: EvidencePredicate['attempts'][number]['gateFindings'] }
  return findings ?? []
}
