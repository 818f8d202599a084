import type { AttemptEvidence } from '@swarm/contract/agent-protocol.ts'
import type { Attempt, Question, Ticket } from '@swarm/contract/endpoints/tickets.ts'
import { ticketCan } from '@swarm/core/tickets/machine.ts'
import type { TicketState } from '@swarm/core/tickets/machine.ts'
import type { Kysely } from 'kysely'
import type { Schema } from '../../db/schema.ts'
import { attemptsOf, dependenciesOf } from './queries.ts'
import type { TicketRow } from './queries.ts'
import { changeIds, costByAttempt, costByTicket, stepsOf, vmIdsOf } from './read-queries.ts'
import type { AskedQuestion } from './questions.ts'
import { waitsOf } from './waits.ts'
import type { DispatchLimits } from './waits.ts'

/** Rows as clients see them; what a ticket waits for is derived here from facts, never stored. */
export async function presentTickets(db: Kysely<Schema>, rows: readonly TicketRow[], limits: DispatchLimits, now: number): Promise<Ticket[]> {
  const ids = rows.map((row) => row.id)
  const [dependencies, costs, changes, waits] = await Promise.all([dependenciesOf(db, ids), costByTicket(db, ids), changeIds(db, ids), waitsOf(db, rows, limits, now)])
  return rows.map((row) => {
    const parents = dependencies.filter((pair) => pair.ticket_id === row.id)
    return {
      id: row.id, projectId: row.project_id, repositoryId: row.repository_id, sessionId: row.session_id, key: row.key, title: row.title, description: row.description,
      acceptance: JSON.parse(row.acceptance) as string[], scope: JSON.parse(row.scope) as string[], requirements: JSON.parse(row.requirements) as Ticket['requirements'],
      agent: row.agent_name, state: row.state, holdReason: row.hold_reason, waitsFor: waits.get(row.id) ?? null,
      can: { retry: ticketCan.retry(row.state as TicketState), hold: ticketCan.hold(row.state as TicketState), cancel: ticketCan.cancel(row.state as TicketState) },
      dependsOn: parents.map((pair) => pair.depends_on_id), wave: row.wave, storyPoints: row.story_points, priority: row.priority, attempts: row.attempt_count,
      branch: row.branch, headSha: row.head_sha, changeId: changes.get(row.id) ?? null, costMicroUsd: costs.get(row.id) ?? 0, createdAt: row.created_at, updatedAt: row.updated_at,
    }
  })
}

export async function presentAttempts(db: Kysely<Schema>, ticketId: string): Promise<Attempt[]> {
  const rows = await attemptsOf(db, ticketId)
  const ids = rows.map((row) => row.id)
  const [steps, costs, vms] = await Promise.all([stepsOf(db, ids), costByAttempt(db, ids), vmIdsOf(db, ids)])
  return rows.map((row) => ({
    id: row.id, ticketId: row.ticket_id, number: row.number, state: row.state, agentName: row.agent_name, agentVersion: row.agent_version, runnerId: row.runner_id,
    vmIds: vms.filter((vm) => vm.work_id === row.id).map((vm) => vm.id), baseSha: row.base_sha, headSha: row.head_sha, summary: row.summary,
    failureClass: row.failure_class, failureReason: row.failure_reason, failureMessage: row.failure_message,
    evidence: row.evidence === null ? null : JSON.parse(row.evidence) as AttemptEvidence,
    steps: steps.filter((step) => step.attempt_id === row.id).map((step) => ({ step: step.step, state: step.state, wallMs: step.wall_ms, detail: step.detail })),
    costMicroUsd: costs.get(row.id) ?? 0, createdAt: row.created_at, endedAt: row.ended_at,
  }))
}

export function presentQuestion(row: AskedQuestion): Question {
  return {
    id: row.id, ticketId: row.ticket_id, attemptId: row.attempt_id, text: row.text, options: JSON.parse(row.options) as string[], state: row.answer !== null ? 'answered' : row.attempt_state === 'parked' ? 'open' : 'moot',
    answer: row.answer, answeredBy: row.answered_by, createdAt: row.created_at, answeredAt: row.answered_at,
  }
}
