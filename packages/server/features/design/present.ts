import { BuildEstimate, Plan, type Clarification, type DesignSession, type DesignSessionDetail, type SpecVersion, type SpecVersionDetail } from '@swarm/contract/endpoints/design.ts'
import type { CoverageArea } from '@swarm/core/design/clarify.ts'
import { sessionCan, type SessionState } from '@swarm/core/design/session.ts'
import { fromJson } from '../../db/json.ts'
import { StoredComparison } from './estimates.ts'
import type { EstimateRow } from './history-queries.ts'
import type { ClarificationRow, SessionRow, SpecVersionRow, StepRow } from './queries.ts'
import { StoredAnswer, StoredCard, StoredCoverage, StoredFailure, StoredLines, StoredSpec } from './stored.ts'

export function presentSession(row: SessionRow): DesignSession {
  return {
    id: row.id, projectId: row.project_id, repositoryId: row.repository_id, title: row.title, state: row.state as SessionState, baseSha: row.base_sha,
    specVersion: row.spec_version, planHash: row.plan_hash, maxCostMicroUsd: row.max_cost_micro_usd, tokenCap: row.token_cap, modelLabel: row.model_label,
    failure: row.failure === null ? null : fromJson(StoredFailure, row.failure), correlationId: row.correlation_id, createdAt: row.created_at, updatedAt: row.updated_at,
  }
}

export function presentDetail(row: SessionRow, about: { spec: StoredSpec; steps: readonly StepRow[]; clarifications: readonly ClarificationRow[]; estimates: readonly EstimateRow[] }): DesignSessionDetail {
  const asked = { state: row.state as SessionState }
  const open = asked.state === 'clarifying' ? about.clarifications.find(({ answer }) => answer === null)?.number ?? null : null
  return {
    ...presentSession(row),
    can: { cancel: sessionCan.cancel(asked), retry: sessionCan.retry(asked), answer: open !== null, edit: sessionCan.revise(asked) },
    requirements: requirementsOf(about.spec),
    clarification: {
      mode: row.clarify as 'open' | 'closed' | 'off', coverage: row.coverage === null ? null : fromJson(StoredCoverage, row.coverage), questions: about.clarifications.map(presentClarification), open,
    },
    plan: row.plan === null ? null : fromJson(Plan, row.plan),
    estimates: about.estimates.map((each) => ({
      specVersion: each.spec_version, estimate: fromJson(BuildEstimate, each.estimate), comparison: each.comparison === null ? null : fromJson(StoredComparison, each.comparison), confirmedAt: each.confirmed_at,
    })),
    steps: about.steps.map((step) => ({
      step: step.step, requestDigest: step.request_digest, usable: fromJson(StoredAnswer, step.response).usable, costMicroUsd: step.cost_micro_usd, createdAt: step.created_at,
    })),
    costMicroUsd: about.steps.reduce((total, step) => total + step.cost_micro_usd, 0),
  }
}

function presentClarification(row: ClarificationRow): Clarification {
  return {
    number: row.number, question: row.question, area: row.area as CoverageArea, options: fromJson(StoredLines, row.options), files: fromJson(StoredLines, row.files), coverage: fromJson(StoredCoverage, row.coverage),
    answer: row.answer, answeredBy: row.answered_by, answeredAt: row.answered_at, acknowledgement: row.acknowledgement, askedAt: row.created_at,
  }
}

export function presentVersion(row: SpecVersionRow): SpecVersion {
  return {
    sessionId: row.session_id, version: row.version, author: row.author, reason: row.reason, hash: row.hash, createdAt: row.created_at,
    requirements: fromJson(StoredSpec, row.parsed).spec?.requirements.length ?? 0,
  }
}

export function presentVersionDetail(row: SpecVersionRow): SpecVersionDetail {
  const stored = fromJson(StoredSpec, row.parsed)
  return { ...presentVersion(row), markdown: row.markdown, requirements: requirementsOf(stored), revisions: stored.revisions, card: row.card === null ? null : fromJson(StoredCard, row.card) }
}

function requirementsOf({ spec }: StoredSpec): SpecVersionDetail['requirements'] {
  return (spec?.requirements ?? []).map(({ id, text, line, section }) => ({ id, text, line, section }))
}
