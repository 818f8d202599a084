import type { RedriveFilter } from '@swarm/contract/endpoints/tickets.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Kysely } from 'kysely'
import type { z } from 'zod'
import type { Database } from '../../db/database.ts'
import { inProjects } from '../../db/projects.ts'
import type { Schema } from '../../db/schema.ts'
import { readPosition } from '../../http/pages.ts'
import type { TicketDependencies } from './commands.ts'
import { retryTicket } from './people.ts'
import type { OfferAgain } from './people.ts'
import { ticketById } from './queries.ts'
import type { TicketRow } from './queries.ts'
import { budgetApprovals, openQuestions } from './wait-queries.ts'

/** Tickets looked at in one call. */
const MOST = 500

export interface Redriven {
  readonly sent: string[]
  /** Those that match and stay where they are, and why. */
  readonly left: { ticketId: string; reason: string }[]
  /** Where the next call goes on; null when all that match were looked at. */
  readonly nextCursor: string | null
}

/**
 * Sends all tickets that match back to work, each in a unit of its own, so that one that cannot go keeps none from going.
 * Those that wait for an answer or for a decision about budget are left to that, unless `waiting` says otherwise. What is
 * left still matches: the cursor goes on behind it, so that it hides nothing, and nothing is looked at twice.
 */
export async function redrive(db: Database, deps: TicketDependencies, input: { filter: z.output<typeof RedriveFilter>; projects: 'all' | readonly string[]; offerAgain: OfferAgain; correlationId: string }): Promise<Redriven> {
  const found = await heldTickets(db.read, input.filter, input.projects, readPosition(input.filter.cursor))
  const rows = found.slice(0, MOST)
  const last = rows.at(-1)
  const [questions, budgets] = input.filter.waiting ? [new Map(), new Map()] : await Promise.all([openQuestions(db.read, rows.map((row) => row.id)), budgetApprovals(db.read, rows)])
  const sent: string[] = []
  const left: Redriven['left'] = []
  for (const row of rows) {
    const question = questions.get(row.id)
    const budget = budgets.get(row.id)
    if (question) left.push({ ticketId: row.id, reason: `it waits for an answer to ${question.id}` })
    else if (budget !== undefined) left.push({ ticketId: row.id, reason: `it waits for the decision about the budget, ${budget}` })
    else {
      try {
        await db.write(async (trx) => {
          const now = await ticketById(trx, row.id)
          // Somebody was faster: it goes already.
          if (now?.state !== row.state) throw new DomainError('illegal_transition', { kind: 'ticket', id: row.id, from: now?.state ?? 'gone', to: 'ready' })
          await retryTicket(trx, deps, { ticketId: row.id, offerAgain: input.offerAgain, correlationId: input.correlationId })
        })
        sent.push(row.id)
      } catch (error) {
        if (!(error instanceof DomainError)) throw error
        left.push({ ticketId: row.id, reason: error.message })
      }
    }
  }
  return { sent, left, nextCursor: last && found.length > MOST ? `${last.created_at}.${last.id}` : null }
}

/** On hold or failed, oldest first; by the class in which its last attempt failed, if one is given. */
async function heldTickets(db: Kysely<Schema>, filter: z.output<typeof RedriveFilter>, projects: 'all' | readonly string[], after: { at: number; id: string } | null): Promise<TicketRow[]> {
  let query = db.selectFrom('tickets').selectAll().where('state', 'in', filter.state === undefined ? ['on_hold', 'failed'] : [filter.state]).orderBy('created_at').orderBy('id').limit(MOST + 1)
  if (after) query = query.where((where) => where.or([where('created_at', '>', after.at), where.and([where('created_at', '=', after.at), where('id', '>', after.id)])]))
  query = inProjects(query, 'project_id', projects)
  if (filter.sessionId !== undefined) query = query.where('session_id', '=', filter.sessionId)
  if (filter.failureClass !== undefined) {
    query = query.where((eb) => eb(eb.selectFrom('attempts').select('attempts.failure_class').whereRef('attempts.ticket_id', '=', 'tickets.id').orderBy('attempts.number', 'desc').limit(1), '=', filter.failureClass!))
  }
  return query.execute()
}
