import { DomainError } from '@swarm/core/errors.ts'
import type { AttemptEvidence } from '@swarm/contract/agent-protocol.ts'
import type { FailureClass } from '@swarm/contract/runner-protocol.ts'
import { predictFiles, sureFiles } from '@swarm/core/tickets/predicted-files.ts'
import type { AttemptState } from '@swarm/core/tickets/attempts.ts'
import { attemptMayBecome } from '@swarm/core/tickets/attempts.ts'
import type { Updateable } from 'kysely'
import type { AttemptsTable } from '../../db/schema.ts'
import { signal } from '../../db/unit.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { Evidence, ModelFacts, TicketCommands } from '../../ports.ts'
import { afterFailedAttempt, withEvidence } from './failures.ts'
import { learnFrom, storedFiles } from './file-history.ts'
import { attemptById, attemptInState, attemptsOf, insertDependencies, insertTicket, lockTicket, moveAttemptRow, patchTicket, ticketsOfAttempts, unfinishedAmong } from './queries.ts'
import type { AttemptRow, TicketRow } from './queries.ts'
import { moveTicket } from './transition.ts'

export interface TicketDependencies {
  readonly now: () => number
  readonly random: () => number
  readonly makeId: (kind: 'ticket' | 'attempt' | 'question') => string
  readonly modelFacts?: ModelFacts
}

/** The ticket that this unit is going to change, locked (queries.ts `lockTicket`). @throws not_found */
export async function requireTicket(trx: Trx, id: string): Promise<TicketRow> {
  const ticket = await lockTicket(trx, id)
  if (!ticket) throw new DomainError('not_found', { kind: 'ticket', id })
  return ticket
}

/** An attempt and its ticket as they are once the ticket is locked. @throws not_found */
export async function requireAttempt(trx: Trx, id: string): Promise<{ attempt: AttemptRow; ticket: TicketRow }> {
  const found = await attemptById(trx, id)
  const ticket = found && await requireTicket(trx, found.ticket_id)
  const attempt = ticket && await attemptById(trx, id)
  if (!attempt) throw new DomainError('not_found', { kind: 'attempt', id })
  return { attempt, ticket }
}

/** The only writer of an attempt's state: table, compare-and-set on state and fence, and event. */
export async function moveAttempt(trx: Trx, attempt: AttemptRow, to: AttemptState, patch: Updateable<AttemptsTable>): Promise<AttemptRow> {
  const from = attempt.state as AttemptState
  if (!attemptMayBecome(from, to)) throw new DomainError('illegal_transition', { kind: 'attempt', id: attempt.id, from, to })
  const next = { ...patch, state: to }
  if (!await moveAttemptRow(trx, attempt, next)) throw new DomainError('stale_fence', { attemptId: attempt.id, fence: attempt.fence })
  await appendEvents(trx, [{
    type: 'ticket:progress', projectId: attempt.project_id, subject: { kind: 'ticket', id: attempt.ticket_id }, correlationId: attempt.correlation_id,
    data: { attemptId: attempt.id, number: attempt.number, fence: patch.fence ?? attempt.fence, from, to, failureClass: patch.failure_class ?? null, reason: patch.failure_reason ?? null },
  }])
  // The gate and the checks wait for attempts to arrive, as claims do for tickets.
  signal(trx, 'work')
  return { ...attempt, ...next } as AttemptRow
}

/** What the features around tickets may do to them (ports.ts). */
export function createTicketCommands(deps: TicketDependencies): TicketCommands {
  /** What was really written is the best prediction of what its next attempt writes. */
  const written = (paths: readonly string[] | undefined) => (paths === undefined ? {} : { predicted_files: JSON.stringify(paths) })
  const evidenceOf = (attempt: AttemptRow, evidence: Evidence): AttemptEvidence => ({ ...evidence, attemptId: attempt.id, number: attempt.number })

  return {
    async createMany(trx, input) {
      // A dependency that is named twice is one.
      const tickets = input.tickets.map((planned) => ({ ...planned, dependsOn: [...new Set(planned.dependsOn)] }))
      const ids = new Map<string, string>()
      for (const planned of tickets) ids.set(planned.key, deps.makeId('ticket'))
      const now = deps.now()
      const outside = [...new Set(tickets.flatMap((planned) => planned.dependsOn.filter((key) => !ids.has(key))))]
      const unfinished = await unfinishedAmong(trx, outside)
      for (const planned of tickets) {
        const id = ids.get(planned.key)!
        await insertTicket(trx, {
          id, project_id: input.projectId, repository_id: input.repositoryId, session_id: input.sessionId, key: planned.key,
          title: planned.title, description: planned.description, acceptance: JSON.stringify(planned.acceptance), scope: JSON.stringify(planned.scope),
          requirements: JSON.stringify(planned.requirements), predicted_files: JSON.stringify(predictFiles(planned)), agent_name: planned.agent,
          state: 'ready', hold_reason: null, priority: 0, wave: planned.wave, story_points: planned.storyPoints, fence: 0, attempt_count: 0,
          failure_counts: '{}', retry_at: null, branch: `swarm/${id}`, head_sha: null, next_base_sha: null, next_start_sha: null, evidence: '[]',
          ready_at: now, created_at: now, updated_at: now, requested_by: planned.requestedBy ?? null, open_dependencies: planned.dependsOn.filter((key) => ids.has(key) || unfinished.has(key)).length,
        })
      }
      await insertDependencies(trx, tickets.flatMap((planned) => planned.dependsOn.map((key) => {
        const parent = ids.get(key) ?? key
        return { ticket_id: ids.get(planned.key)!, depends_on_id: parent }
      })))
      await appendEvents(trx, tickets.map((planned) => ({
        type: 'ticket:update', projectId: input.projectId, subject: { kind: 'ticket', id: ids.get(planned.key)! }, correlationId: input.correlationId,
        data: { key: planned.key, title: planned.title, sessionId: input.sessionId, from: null, to: 'ready', dependsOn: planned.dependsOn.map((key) => ids.get(key) ?? key), reason: null },
      })))
      signal(trx, 'work')
      return ids
    },

    async verificationFailed(trx, input) {
      const { attempt, ticket } = await requireAttempt(trx, input.attemptId)
      const evidence = evidenceOf(attempt, input.evidence)
      const now = deps.now()
      await moveAttempt(trx, attempt, 'failed', {
        failure_class: input.failureClass, failure_reason: input.reason, failure_message: input.message, evidence: JSON.stringify(evidence), ended_at: now,
      })
      // A diff that the gate refused is no ground to build on; one that only failed its checks is.
      const keepWork = input.failureClass === 'checks' || input.failureClass === 'infrastructure'
      await afterFailedAttempt(trx, ticket, {
        failureClass: input.failureClass, reason: input.reason, evidence, to: 'ready',
        patch: { next_base_sha: keepWork ? attempt.base_sha : null, next_start_sha: keepWork ? attempt.head_sha : null },
        correlationId: attempt.correlation_id, now, random: deps.random(), attemptId: attempt.id,
      })
    },

    async gatePassed(trx, input) {
      const { attempt } = await requireAttempt(trx, input.attemptId)
      await moveAttempt(trx, attempt, 'verifying', { gate: input.gate })
    },

    async verified(trx, input) {
      const { attempt, ticket } = await requireAttempt(trx, input.attemptId)
      const now = deps.now()
      await moveAttempt(trx, attempt, 'succeeded', { ended_at: now })
      await moveTicket(trx, ticket, 'in_review', {
        patch: { head_sha: attempt.head_sha, next_base_sha: null, next_start_sha: null, ...written(input.paths) }, correlationId: attempt.correlation_id, now, attemptId: attempt.id,
      })
    },

    async enterMerge(trx, input) {
      await moveTicket(trx, await requireTicket(trx, input.ticketId), 'merging', { correlationId: input.correlationId, now: deps.now() })
    },

    async merged(trx, input) {
      const ticket = await requireTicket(trx, input.ticketId)
      // Without being told, what it was published with.
      await learnFrom(trx, ticket.repository_id, input.paths ?? sureFiles(storedFiles(ticket)))
      await moveTicket(trx, ticket, 'done', {
        patch: { evidence: '[]', failure_counts: '{}', ...written(input.paths) }, reason: `merged as ${input.sha.slice(0, 12)}`, correlationId: input.correlationId, now: deps.now(),
      })
    },

    async returned(trx, input) {
      const ticket = await requireTicket(trx, input.ticketId)
      const last = await attemptInState(trx, ticket.id, 'succeeded')
      if (!last) throw new DomainError('not_found', { kind: 'attempt', id: `succeeded of ${ticket.id}` })
      const evidence = evidenceOf(last, input.evidence)
      const start = input.start ?? { baseSha: last.base_sha, startSha: last.head_sha ?? last.base_sha }
      const patch = { next_base_sha: start.baseSha, next_start_sha: start.startSha }
      if (input.failureClass === 'conflict' || input.failureClass === 'checks') {
        await afterFailedAttempt(trx, ticket, {
          failureClass: input.failureClass, reason: input.reason, evidence, to: 'changes_requested', patch,
          correlationId: input.correlationId, now: deps.now(), random: deps.random(), attemptId: last.id,
        })
        return
      }
      // A person asked for changes: nobody failed, and nothing is counted.
      await moveTicket(trx, ticket, 'changes_requested', {
        patch: { ...patch, evidence: withEvidence(ticket, evidence), retry_at: null }, reason: input.reason, correlationId: input.correlationId, now: deps.now(), attemptId: last.id,
      })
    },

    async rejected(trx, input) {
      await moveTicket(trx, await requireTicket(trx, input.ticketId), 'on_hold', { reason: input.reason, correlationId: input.correlationId, now: deps.now() })
    },

    async resumeHeld(trx, input) {
      const resumed: string[] = []
      const tickets: TicketRow[] = []
      for (const { id } of await ticketsOfAttempts(trx, input.attemptIds)) tickets.push(await requireTicket(trx, id))
      for (const ticket of tickets.filter(({ state }) => state === 'claimed' || state === 'in_progress')) {
        // Its agent has met the cause already and is saving its work: the failure that it reports next is forgiven.
        const last = (await attemptsOf(trx, ticket.id)).at(-1)
        if (!last || !input.attemptIds.includes(last.id)) continue
        const counts = JSON.parse(ticket.failure_counts) as Partial<Record<FailureClass, number>>
        await patchTicket(trx, ticket.id, { failure_counts: JSON.stringify({ ...counts, [input.failureClass]: -1 }) })
      }
      for (const ticket of tickets.filter(({ state }) => state === 'on_hold')) {
        // The counts start anew whenever a person sends a ticket back: those of this class say that it was held since.
        const { [input.failureClass]: failed, ...counts } = JSON.parse(ticket.failure_counts) as Partial<Record<FailureClass, number>>
        const last = (await attemptsOf(trx, ticket.id)).at(-1)
        if (failed === undefined || failed < 1 || last?.state !== 'failed' || last.failure_class !== input.failureClass || !input.attemptIds.includes(last.id)) continue
        await moveTicket(trx, ticket, 'ready', { patch: { failure_counts: JSON.stringify(counts), retry_at: null }, reason: input.reason, correlationId: input.correlationId, now: deps.now() })
        resumed.push(ticket.id)
      }
      return resumed
    },
  }
}
