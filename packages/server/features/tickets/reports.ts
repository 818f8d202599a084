import type { AttemptEvidence } from '@swarm/contract/agent-protocol.ts'
import type { FailureClass } from '@swarm/contract/runner-protocol.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { AttemptState } from '@swarm/core/tickets/attempts.ts'
import type { Kysely } from 'kysely'
import type { Schema } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { continueFrom, earlierWork } from './attempt-source.ts'
import { moveAttempt, requireAttempt } from './commands.ts'
import type { TicketDependencies } from './commands.ts'
import { afterFailedAttempt } from './failures.ts'
import { attemptById } from './queries.ts'
import type { AttemptRow, TicketRow } from './queries.ts'
import { handIn } from './hand-in.ts'
import { insertQuestion } from './questions.ts'
import { moveTicket } from './transition.ts'

/**
 * The attempt and its ticket, if this runner holds it under this fence; null when it got by exactly this report where it is
 * (`ledTo`): the answer was lost, and is given again.
 * @throws stale_fence otherwise; nothing has changed then
 */
async function heldOrReported(trx: Trx, runnerId: string, key: { id: string; fence: number }, ledTo: readonly AttemptState[]): Promise<{ attempt: AttemptRow; ticket: TicketRow } | null> {
  const held = await requireAttempt(trx, key.id).catch((error: unknown) => { throw error instanceof DomainError && error.code === 'not_found' ? staleFence(key) : error })
  const { attempt } = held
  if (attempt.fence !== key.fence || attempt.runner_id !== runnerId) throw staleFence(key)
  if (ledTo.includes(attempt.state as AttemptState)) return null
  if (attempt.state !== 'running') throw staleFence(key)
  return held
}

/** Project of an attempt that this runner holds under this fence, with a lease that is not over. @throws stale_fence */
export async function projectOfHeldAttempt(db: Kysely<Schema>, runnerId: string, key: { id: string; fence: number }, now: number): Promise<string> {
  const attempt = await attemptById(db, key.id)
  if (!attempt || attempt.fence !== key.fence || attempt.runner_id !== runnerId || attempt.state !== 'running' || (attempt.lease_expires_at ?? 0) < now) throw staleFence(key)
  return attempt.project_id
}

const staleFence = (key: { id: string; fence: number }): DomainError => new DomainError('stale_fence', { attemptId: key.id, fence: key.fence })

/** The newest of what the attempt pushed: at its end, at its last checkpoint, or before it began. */
function savedWork(attempt: AttemptRow, wipSha: string | null): string | null {
  return wipSha ?? attempt.wip_sha ?? earlierWork(attempt)
}

/** Journals progress. Returns false for a report that was already recorded. */
export async function recordStatus(trx: Trx, deps: TicketDependencies, runnerId: string, report: {
  id: string; fence: number; sequence: number
  step?: { name: string; state: string; wallMs?: number | undefined; detail?: string | undefined } | undefined
  vmId?: string | undefined
  activity: readonly Record<string, unknown>[]
  egressRefusals: readonly Record<string, unknown>[]
  wipSha?: string | undefined
}): Promise<boolean> {
  const held = await heldOrReported(trx, runnerId, report, [])
  if (held === null || report.sequence <= held.attempt.status_sequence) return false
  const { attempt, ticket } = held
  const now = deps.now()
  // What the agent says at its end is kept with its work, so that a lost word of completion loses neither.
  const summary = report.activity.findLast((event) => event['type'] === 'finished')?.['summary']
  // A checkpoint is no sign of progress: it is the runner's, whatever its agent does.
  const progress = report.step !== undefined || report.activity.length > 0 || report.egressRefusals.length > 0
  await trx.updateTable('attempts').set({
    status_sequence: report.sequence, ...(progress ? { activity_at: now } : {}), ...(report.vmId === undefined ? {} : { vm_id: report.vmId }),
    ...(typeof summary === 'string' ? { summary } : {}), ...(report.wipSha === undefined ? {} : { wip_sha: report.wipSha }),
  })
    .where('id', '=', attempt.id).where('fence', '=', attempt.fence).execute()
  if (report.step) {
    const { name, state, wallMs, detail } = report.step
    const figures = { state, wall_ms: wallMs === undefined ? null : Math.round(wallMs), detail: detail ?? null, at: now }
    await trx.insertInto('attempt_steps').values({ attempt_id: attempt.id, fence: attempt.fence, step: name, ...figures })
      .onConflict((oc) => oc.columns(['attempt_id', 'fence', 'step']).doUpdateSet(figures)).execute()
  }
  const subject = { kind: 'ticket', id: attempt.ticket_id }
  const about = { projectId: attempt.project_id, subject, correlationId: attempt.correlation_id }
  await appendEvents(trx, [
    ...(report.step ? [{ ...about, type: 'ticket:progress', data: { attemptId: attempt.id, step: report.step.name, state: report.step.state, wallMs: report.step.wallMs ?? null, detail: report.step.detail ?? null } }] : []),
    ...(report.wipSha === undefined ? [] : [{ ...about, type: 'ticket:progress', data: { attemptId: attempt.id, fence: attempt.fence, wipSha: report.wipSha } }]),
    ...report.activity.map((event) => ({ ...about, type: 'ticket:activity', data: { attemptId: attempt.id, event } })),
    ...report.egressRefusals.map((refusal) => ({ ...about, type: 'ticket:activity', data: { attemptId: attempt.id, egressRefused: refusal } })),
  ])
  if (ticket.state === 'claimed') await moveTicket(trx, ticket, 'in_progress', { correlationId: attempt.correlation_id, now, attemptId: attempt.id })
  return true
}

/** The agent's work is pushed: from here the gate and the checks decide. */
export async function completeAttempt(trx: Trx, deps: TicketDependencies, runnerId: string, report: { id: string; fence: number; headSha: string; summary: string }): Promise<void> {
  const held = await heldOrReported(trx, runnerId, report, ['gating', 'verifying'])
  if (held !== null) await handIn(trx, deps, held, report)
}

export async function failAttempt(trx: Trx, deps: TicketDependencies, runnerId: string, report: {
  id: string; fence: number; failureClass: FailureClass; reason: string; message: string; wipSha: string | null
}): Promise<void> {
  const held = await heldOrReported(trx, runnerId, report, ['failed', 'cancelled'])
  if (held === null) return
  const { attempt, ticket } = held
  const now = deps.now()
  const evidence: AttemptEvidence = {
    attemptId: attempt.id, number: attempt.number, failureClass: report.failureClass, reason: report.reason, findings: [], checkOutput: report.message, conflict: '',
  }
  const stopped = ticket.state !== 'claimed' && ticket.state !== 'in_progress'
  // What the gateway recorded counts, not what the microVM says about it.
  const { overload, holdReason } = await deps.modelFacts?.(trx, attempt.id, report.failureClass) ?? {}
  await moveAttempt(trx, attempt, stopped ? 'cancelled' : 'failed', {
    failure_class: report.failureClass, failure_reason: attempt.stop_reason ?? report.reason, failure_message: report.message, evidence: JSON.stringify(evidence),
    wip_sha: report.wipSha ?? attempt.wip_sha, ended_at: now, lease_expires_at: null,
  })
  if (stopped) {
    await trx.updateTable('tickets').set(continueFrom(attempt, savedWork(attempt, report.wipSha))).where('id', '=', ticket.id).where('fence', '=', attempt.fence).execute()
    return
  }
  // A bad script or a bad agent starts afresh; a fault of the machine or the model goes on from what was saved.
  const goOn = report.failureClass === 'infrastructure' || report.failureClass === 'model' || report.failureClass === 'budget'
  await afterFailedAttempt(trx, ticket, {
    failureClass: report.failureClass, reason: report.reason, evidence, to: 'ready', patch: continueFrom(attempt, goOn ? savedWork(attempt, report.wipSha) : null),
    correlationId: attempt.correlation_id, now, random: deps.random(), attemptId: attempt.id, overload, holdReason,
  })
}

/** Work given back without blame: parked on a question, or the runner is going down. */
export async function releaseAttempt(trx: Trx, deps: TicketDependencies, runnerId: string, report: {
  id: string; fence: number; reason: 'question' | 'shutdown'; wipSha: string | null
  question?: { text: string; options: string[]; toolUseId: string; transcriptDigest: string } | undefined
}): Promise<void> {
  const held = await heldOrReported(trx, runnerId, report, ['parked', 'released', 'cancelled'])
  if (held === null) return
  const { attempt, ticket } = held
  const now = deps.now()
  const working = ticket.state === 'claimed' || ticket.state === 'in_progress'
  if (report.question && working) {
    const questionId = deps.makeId('question')
    await moveAttempt(trx, attempt, 'parked', { wip_sha: report.wipSha ?? attempt.wip_sha, lease_expires_at: null, vm_id: null })
    await insertQuestion(trx, {
      id: questionId, attempt_id: attempt.id, ticket_id: ticket.id, project_id: ticket.project_id, text: report.question.text, options: JSON.stringify(report.question.options),
      tool_use_id: report.question.toolUseId, transcript_digest: report.question.transcriptDigest, answer: null, answered_by: null, created_at: now, answered_at: null,
    })
    await appendEvents(trx, [{
      type: 'ticket:progress', projectId: ticket.project_id, subject: { kind: 'ticket', id: ticket.id }, correlationId: attempt.correlation_id,
      data: { attemptId: attempt.id, questionId, question: report.question.text, options: report.question.options },
    }])
    await moveTicket(trx, ticket, 'on_hold', { reason: `an agent asks: ${report.question.text}`, correlationId: attempt.correlation_id, now, attemptId: attempt.id })
    return
  }
  await moveAttempt(trx, attempt, working ? 'released' : 'cancelled', { wip_sha: report.wipSha ?? attempt.wip_sha, ended_at: now, failure_reason: attempt.stop_reason ?? report.reason, lease_expires_at: null })
  const patch = continueFrom(attempt, savedWork(attempt, report.wipSha))
  if (working) await moveTicket(trx, ticket, 'ready', { patch, reason: report.reason, correlationId: attempt.correlation_id, now, attemptId: attempt.id })
  else await trx.updateTable('tickets').set(patch).where('id', '=', ticket.id).where('fence', '=', attempt.fence).execute()
}

/** What the runner protocol calls, with the feature's own dependencies filled in. */
export function attemptReports(deps: TicketDependencies) {
  return {
    recordStatus: (trx: Trx, runnerId: string, report: Parameters<typeof recordStatus>[3]) => recordStatus(trx, deps, runnerId, report),
    complete: (trx: Trx, runnerId: string, report: Parameters<typeof completeAttempt>[3]) => completeAttempt(trx, deps, runnerId, report),
    fail: (trx: Trx, runnerId: string, report: Parameters<typeof failAttempt>[3]) => failAttempt(trx, deps, runnerId, report),
    release: (trx: Trx, runnerId: string, report: Parameters<typeof releaseAttempt>[3]) => releaseAttempt(trx, deps, runnerId, report),
    async about(trx: Trx, attemptId: string): Promise<{ ticketId: string; projectId: string }> {
      const attempt = await attemptById(trx, attemptId)
      if (!attempt) throw new DomainError('not_found', { kind: 'attempt', id: attemptId })
      return { ticketId: attempt.ticket_id, projectId: attempt.project_id }
    },
  }
}
