import { Plan, type DesignSession, type DesignSessionDetail } from '@swarm/contract/endpoints/design.ts'
import { sessionCan, type SessionState } from '@swarm/core/design/session.ts'
import { fromJson } from '../../db/json.ts'
import type { SessionRow, StepRow } from './queries.ts'
import { StoredAnswer, StoredFailure, type StoredSpec } from './stored.ts'

export function presentSession(row: SessionRow): DesignSession {
  return {
    id: row.id, projectId: row.project_id, repositoryId: row.repository_id, title: row.title, state: row.state as SessionState, baseSha: row.base_sha,
    specVersion: row.spec_version, planHash: row.plan_hash, maxCostMicroUsd: row.max_cost_micro_usd, tokenCap: row.token_cap, modelLabel: row.model_label,
    failure: row.failure === null ? null : fromJson(StoredFailure, row.failure), correlationId: row.correlation_id, createdAt: row.created_at, updatedAt: row.updated_at,
  }
}

export function presentDetail(row: SessionRow, stored: StoredSpec, steps: readonly StepRow[]): DesignSessionDetail {
  const asked = { state: row.state as SessionState }
  return {
    ...presentSession(row),
    can: { cancel: sessionCan.cancel(asked), retry: sessionCan.retry(asked) },
    requirements: stored.spec.requirements.map(({ id, text, line, section }) => ({ id, text, line, section })),
    plan: row.plan === null ? null : fromJson(Plan, row.plan),
    steps: steps.map((step) => ({
      step: step.step, requestDigest: step.request_digest, usable: fromJson(StoredAnswer, step.response).usable, costMicroUsd: step.cost_micro_usd, createdAt: step.created_at,
    })),
    costMicroUsd: steps.reduce((total, step) => total + step.cost_micro_usd, 0),
  }
}
