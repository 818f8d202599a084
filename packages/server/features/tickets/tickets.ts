import { AgentEvent } from '@swarm/contract/agent-protocol.ts'
import { answerQuestion, cancelTicket, countTickets, createTicket, holdTicket, listQuestions, listTickets, retryTicket, retryTickets, showQuestion, showTicket, ticketActivity, updateTicket } from '@swarm/contract/endpoints/tickets.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { BOARD_COLUMN_NAMES, BOARD_COLUMNS } from '@swarm/core/tickets/board.ts'
import type { Context } from '../../context.ts'
import { etagOf } from '../../http/etag.ts'
import { byCreation, page, readPosition } from '../../http/pages.ts'
import { register } from '../../http/register.ts'
import type { TicketCommands } from '../../ports.ts'
import type { TicketDependencies } from './commands.ts'
import * as people from './people.ts'
import { presentAttempts, presentQuestion, presentTickets } from './present.ts'
import { patchTicket, ticketById } from './queries.ts'
import type { TicketRow } from './queries.ts'
import { answer, questions, requireQuestion } from './questions.ts'
import { editable, editTicket } from './edit.ts'
import { activityPage, countsByState, placeOf, ticketPage } from './read-queries.ts'
import { redrive } from './redrive.ts'
import type { DispatchLimits } from './waits.ts'

/** Routes of tickets and of the questions that agents ask. */
export function registerTickets(context: Context, deps: TicketDependencies, commands: TicketCommands, given: {
  requireProjectAndRepository(projectId: string, repositoryId: string): Promise<{ projectId: string; repositoryId: string }>
  requireAgent(name: string): Promise<void>
  readonly limits: DispatchLimits
  readonly offerAgain: people.OfferAgain
}): void {
  const { http, db } = context
  const present = async (row: TicketRow) => (await presentTickets(db.read, [row], given.limits, deps.now()))[0]!

  register(http, listTickets, async ({ query, projects }) => {
    const rows = await ticketPage(db.read, { ...query, projects: await projects() }, query.sort, readPosition(query.cursor), query.limit + 1, deps.now())
    const { items, nextCursor } = page(rows, query.limit, (row) => row, (row) => placeOf(row, query.sort))
    return { items: await presentTickets(db.read, items, given.limits, deps.now()), nextCursor }
  })

  register(http, countTickets, async ({ query, projects }) => {
    const counts = await countsByState(db.read, { ...query, projects: await projects() }, deps.now())
    const columns = BOARD_COLUMN_NAMES.map((column) => {
      const states = [...BOARD_COLUMNS[column]]
      const sum = (of: 'tickets' | 'blocked'): number => states.reduce((total, state) => total + (counts.get(state)?.[of] ?? 0), 0)
      return { column, states, tickets: sum('tickets'), blocked: column === 'ready' ? sum('blocked') : 0 }
    })
    return { total: columns.reduce((total, { tickets }) => total + tickets, 0), columns }
  })

  register(http, createTicket, async ({ body, principal, correlationId }) => {
    await given.requireAgent(body.agent)
    const place = await given.requireProjectAndRepository(body.projectId, body.repositoryId)
    const row = await db.write(async (trx) => {
      const parents = await Promise.all(body.dependsOn.map(async (id) => {
        const parent = await ticketById(trx, id)
        if (!parent || parent.project_id !== place.projectId) throw new DomainError('not_found', { kind: 'ticket', id })
        return parent
      }))
      const ids = await commands.createMany(trx, {
        ...place, sessionId: null, correlationId,
        tickets: [{ key: 'ticket', title: body.title, description: body.description, acceptance: body.acceptance, scope: body.scope, requirements: [], dependsOn: body.dependsOn, storyPoints: body.storyPoints, wave: 1 + Math.max(0, ...parents.map((parent) => parent.wave)), agent: body.agent, requestedBy: `${principal.kind} ${principal.id}` }],
      })
      const id = ids.get('ticket')!
      await patchTicket(trx, id, { priority: body.priority })
      return (await ticketById(trx, id))!
    })
    return present(row)
  })

  register(http, showTicket, async ({ params, reply }) => {
    const row = await ticketById(db.read, params.ticketId)
    if (!row) throw new DomainError('not_found', { kind: 'ticket', id: params.ticketId })
    // Not of all that is answered: what it costs and waits for changes while somebody edits it.
    reply.header('etag', etagOf(editable(row)))
    return { ...await present(row), history: await presentAttempts(db.read, row.id) }
  })

  register(http, updateTicket, async ({ params, body, principal, request, reply, correlationId }) => {
    const row = await db.write((trx) => editTicket(trx, { ticketId: params.ticketId, patch: body, request, by: `${principal.kind} ${principal.id}`, now: deps.now(), correlationId }))
    reply.header('etag', etagOf(editable(row)))
    return present(row)
  })

  register(http, retryTicket, async ({ params, correlationId }) =>
    present(await db.write((trx) => people.retryTicket(trx, deps, { ...params, offerAgain: given.offerAgain, correlationId }))))

  register(http, retryTickets, async ({ body, projects, correlationId }) => redrive(db, deps, { filter: body, projects: await projects(), offerAgain: given.offerAgain, correlationId }))

  register(http, holdTicket, async ({ params, body, correlationId }) =>
    present(await db.write((trx) => people.stopTicket(trx, deps, { ...params, to: 'on_hold', reason: body.reason, correlationId }))))

  register(http, cancelTicket, async ({ params, body, correlationId }) =>
    present(await db.write((trx) => people.stopTicket(trx, deps, { ...params, to: 'cancelled', reason: body.reason, correlationId }))))

  register(http, ticketActivity, async ({ params, query }) => {
    if (!await ticketById(db.read, params.ticketId)) throw new DomainError('not_found', { kind: 'ticket', id: params.ticketId })
    const after = query.cursor === undefined ? 0 : Number(query.cursor)
    if (!Number.isSafeInteger(after) || after < 0) throw new DomainError('invalid_input', { problem: 'the cursor is not one that Swarm gave', field: 'cursor' })
    const rows = await activityPage(db.read, params.ticketId, after, query.limit + 1)
    const items = rows.slice(0, query.limit).flatMap((row) => {
      const data = JSON.parse(row.data) as { attemptId: string; event?: unknown }
      return data.event === undefined ? [] : [{ at: row.at, attemptId: data.attemptId, event: AgentEvent.parse(data.event) }]
    })
    return { items, nextCursor: rows.length > query.limit ? String(rows[query.limit - 1]!.seq) : null }
  })

  register(http, listQuestions, async ({ query, projects }) =>
    page(await questions(db.read, { ...query, open: query.open === 'true', projects: await projects() }, readPosition(query.cursor), query.limit + 1), query.limit, presentQuestion, byCreation))

  register(http, showQuestion, async ({ params }) => presentQuestion(await requireQuestion(db.read, params.questionId)))

  register(http, answerQuestion, async ({ params, body, principal, correlationId }) =>
    presentQuestion(await db.write((trx) => answer(trx, deps, { questionId: params.questionId, answer: body.answer, by: `${principal.kind} ${principal.id}`, correlationId }))))
}
