import type { TicketState } from '@swarm/core/tickets/machine.ts'
import { waitsFor } from '@swarm/core/tickets/waits-for.ts'
import type { Kysely } from 'kysely'
import type { Schema } from '../../db/schema.ts'
import type { FailureCounts } from './failures.ts'
import { expectedFiles } from './file-history.ts'
import { inTheWay } from './in-the-way.ts'
import { activeTickets, dependenciesOf } from './queries.ts'
import type { TicketRow } from './queries.ts'
import { attemptsHeld, budgetApprovals, changesUnderReview, mergePlaces, openQuestions, queuedChecks, runnersSeenSince } from './wait-queries.ts'

/** A runner counts as online for this long after its last call, ms (a claim is held 25 s at most). */
const ONLINE_MS = 30_000

/** The limits that dispatch keeps, as `swarm ticket why` names them. */
export interface DispatchLimits {
  readonly concurrency: number
  concurrencyOf(projectId: string): Promise<number>
}

/** For each of these tickets, one line that says why it does not move, from what is recorded now; null where it moves. */
export async function waitsOf(db: Kysely<Schema>, rows: readonly TicketRow[], limits: DispatchLimits, now: number): Promise<Map<string, string | null>> {
  const ids = rows.map((row) => row.id)
  const [parents, active, files, questions, budgets, changes, merges, checks, held, runners] = await Promise.all([
    dependenciesOf(db, ids), activeTickets(db, now), expectedFiles(db, rows), openQuestions(db, ids), budgetApprovals(db, rows), changesUnderReview(db, ids), mergePlaces(db, ids),
    queuedChecks(db, ids), attemptsHeld(db, ids), runnersSeenSince(db, now - ONLINE_MS),
  ])
  const working = active.filter((ticket) => ticket.state === 'claimed' || ticket.state === 'in_progress')
  const concurrency = new Map(await Promise.all([...new Set(rows.map((row) => row.project_id))].map(async (id) => [id, await limits.concurrencyOf(id)] as const)))
  const left = (at: number | null) => (at !== null && at > now ? at - now : null)
  return new Map(rows.map((row) => {
    const obstacle = inTheWay(row, files.get(row.id) ?? {}, active, now)
    const check = checks.get(row.id)
    return [row.id, waitsFor({
      id: row.id, state: row.state as TicketState, holdReason: row.hold_reason,
      parents: parents.filter((pair) => pair.ticket_id === row.id && pair.state !== 'done').map((pair) => ({ id: pair.depends_on_id, title: pair.title, state: pair.state as TicketState })),
      retryInMs: left(row.retry_at), overloaded: ((JSON.parse(row.failure_counts) as FailureCounts).overload ?? 0) > 0, attemptIsSaved: held.has(row.id),
      overlap: obstacle ? { id: obstacle.other.id, title: obstacle.other.title, state: obstacle.other.state as TicketState, files: obstacle.shared } : null,
      project: { working: working.filter((other) => other.project_id === row.project_id).length, limit: concurrency.get(row.project_id) ?? 1 },
      installation: { working: working.length, limit: limits.concurrency }, runners,
      question: questions.get(row.id) ?? null, budgetApproval: budgets.get(row.id) ?? null, change: changes.get(row.id) ?? null, merge: merges.get(row.id) ?? null,
      check: check ? { id: check.id, retryInMs: left(check.notBefore), failure: check.failure } : null,
    })]
  }))
}
