import { z } from 'zod'
import { BOARD_COLUMN_NAMES } from '@swarm/core/tickets/board.ts'
import { TICKET_STATES } from '@swarm/core/tickets/machine.ts'
import { AgentEvent, AttemptEvidence } from '../agent-protocol.ts'
import { endpoint, inBody, inParams, inQuery } from '../endpoint.ts'
import { FailureClass } from '../runner-protocol.ts'
import { pageOf, PageQuery, repeated, Slug, Time } from './shared.ts'

export const TicketState = z.enum(TICKET_STATES as [string, ...string[]])

export const Attempt = z.object({
  id: z.string(), ticketId: z.string(), number: z.number().int(), state: z.string(), agentName: z.string(), agentVersion: z.number().int(),
  runnerId: z.string().nullable(), vmIds: z.array(z.string()),
  baseSha: z.string(), headSha: z.string().nullable(), summary: z.string().nullable(),
  failureClass: z.string().nullable(), failureReason: z.string().nullable(), failureMessage: z.string().nullable(),
  evidence: AttemptEvidence.nullable(),
  steps: z.array(z.object({ step: z.string(), state: z.string(), wallMs: z.number().nullable(), detail: z.string().nullable() })),
  costMicroUsd: z.number().int(), createdAt: Time, endedAt: Time.nullable(),
})
export type Attempt = z.infer<typeof Attempt>

export const Ticket = z.object({
  id: z.string(), projectId: z.string(), repositoryId: z.string(), sessionId: z.string().nullable(), key: z.string(),
  title: z.string(), description: z.string(), acceptance: z.array(z.string()), scope: z.array(z.string()),
  requirements: z.array(z.object({ id: z.string(), text: z.string() })),
  agent: z.string(), state: TicketState, holdReason: z.string().nullable(),
  /** One line that says why it does not move right now, or null when it does. */
  waitsFor: z.string().nullable(),
  /** What a person may do with it now. */
  can: z.object({ retry: z.boolean(), hold: z.boolean(), cancel: z.boolean() }),
  dependsOn: z.array(z.string()), wave: z.number().int(), storyPoints: z.number(), priority: z.number().int(),
  attempts: z.number().int(), branch: z.string(), headSha: z.string().nullable(), changeId: z.string().nullable(),
  costMicroUsd: z.number().int(), createdAt: Time, updatedAt: Time,
})
export type Ticket = z.infer<typeof Ticket>

const ById = z.object({ ticketId: z.string() })

export const Priority = z.number().int().min(-100).max(100)
/** Kinds of waiting that are read from a ticket alone: `waitsFor` says it in words. */
export const TicketWaiting = z.enum(['dependencies', 'retry', 'review', 'person'])
export const TicketSort = z.enum(['created', 'updated', 'priority'])
/** Which tickets are listed; of views as well. Queries are text, hence the coercion. */
export const TicketFilter = {
  /** In title or key, whatever the case of ASCII letters, or the id. */
  text: z.string().trim().min(1).max(200).optional(),
  sessionId: z.string().max(200).optional(), waiting: TicketWaiting.optional(),
  minPriority: z.coerce.number().pipe(Priority).optional(), maxPriority: z.coerce.number().pipe(Priority).optional(),
}

export const listTickets = endpoint({
  method: 'GET', path: '/api/tickets', access: ['person'], action: 'project:read', on: inQuery('project', 'projectId'), tag: 'tickets', summary: 'Lists tickets',
  query: PageQuery.extend({
    ...TicketFilter, state: repeated(TicketState, TICKET_STATES.length).optional(), agent: repeated(Slug, 50).optional(),
    projectId: z.string().max(200).optional(), sort: TicketSort.default('created'),
  }),
  response: pageOf(Ticket),
})
export const countTickets = endpoint({
  method: 'GET', path: '/api/tickets/counts', access: ['person'], action: 'project:read', on: inQuery('project', 'projectId'), tag: 'tickets', summary: 'How many tickets are in each column of the board',
  query: z.object({ projectId: z.string().max(200).optional(), sessionId: z.string().max(200).optional() }),
  response: z.object({
    total: z.number().int(),
    columns: z.array(z.object({ column: z.enum(BOARD_COLUMN_NAMES), states: z.array(TicketState), tickets: z.number().int(), /** Of these, those that wait for another ticket to be merged. */ blocked: z.number().int() })),
  }),
})
export const createTicket = endpoint({
  method: 'POST', path: '/api/tickets', access: ['person'], action: 'ticket:create', on: inBody('project', 'projectId'), tag: 'tickets', status: 201, summary: 'Creates a ticket outside a design session',
  body: z.object({
    projectId: z.string(), repositoryId: z.string(), title: z.string().min(1).max(200), description: z.string().max(50_000).default(''),
    acceptance: z.array(z.string().min(1).max(2_000)).max(100).default([]), scope: z.array(z.string().min(1).max(500)).max(200).default([]),
    dependsOn: z.array(z.string()).max(100).default([]), agent: Slug, priority: Priority.default(0),
    storyPoints: z.number().min(0).max(100).default(1),
  }),
  response: Ticket,
})
export const showTicket = endpoint({
  method: 'GET', path: '/api/tickets/:ticketId', access: ['person'], action: 'ticket:read', on: inParams('ticket', 'ticketId'), tag: 'tickets', summary: 'Shows a ticket with its attempts',
  params: ById, response: Ticket.extend({ history: z.array(Attempt) }),
})
export const updateTicket = endpoint({
  method: 'PATCH', path: '/api/tickets/:ticketId', access: ['person'], action: 'ticket:update', on: inParams('ticket', 'ticketId'), tag: 'tickets',
  summary: 'Changes the priority of a ticket that is not over, and title and description while it is a draft or ready; with If-Match only what it was when it was read',
  params: ById, body: z.strictObject({ priority: Priority, title: z.string().trim().min(1).max(200), description: z.string().max(50_000) }).partial().refine((patch) => Object.keys(patch).length > 0, 'nothing is to be changed'),
  response: Ticket,
})
export const retryTicket = endpoint({
  method: 'POST', path: '/api/tickets/:ticketId/retry', access: ['person'], action: 'ticket:retry', on: inParams('ticket', 'ticketId'), tag: 'tickets', summary: 'Sends a held or failed ticket back to work',
  params: ById, response: Ticket,
})
export const RedriveFilter = z.object({
  projectId: z.string().optional(), sessionId: z.string().optional(), state: z.enum(['on_hold', 'failed']).optional(),
  /** Only those whose last attempt failed in this class. */
  failureClass: FailureClass.optional(),
  /** Also those that wait for an answer or for a decision about budget: what they asked is moot then. */
  waiting: z.boolean().default(false),
  /** `nextCursor` of the call before: goes on after the tickets that it looked at, sent or left. */
  cursor: z.string().optional(),
})
export const retryTickets = endpoint({
  method: 'POST', path: '/api/tickets/retry', access: ['person'], action: 'ticket:retry', on: inBody('project', 'projectId', 'visible'), tag: 'tickets', summary: 'Sends all held or failed tickets that match back to work; a call looks at 500',
  body: RedriveFilter,
  response: z.object({ sent: z.array(z.string()), left: z.array(z.object({ ticketId: z.string(), reason: z.string() })), /** Where the next call goes on; null when all were looked at. */ nextCursor: z.string().nullable() }),
})
export const holdTicket = endpoint({
  method: 'POST', path: '/api/tickets/:ticketId/hold', access: ['person'], action: 'ticket:hold', on: inParams('ticket', 'ticketId'), tag: 'tickets', summary: 'Holds a ticket; running work is stopped and kept',
  params: ById, body: z.object({ reason: z.string().trim().min(1).max(500) }), response: Ticket,
})
export const cancelTicket = endpoint({
  method: 'POST', path: '/api/tickets/:ticketId/cancel', access: ['person'], action: 'ticket:cancel', on: inParams('ticket', 'ticketId'), tag: 'tickets', summary: 'Cancels a ticket; its work is kept on its refs',
  params: ById, body: z.object({ reason: z.string().trim().min(1).max(500) }), response: Ticket,
})
export const ticketActivity = endpoint({
  method: 'GET', path: '/api/tickets/:ticketId/activity', access: ['person'], action: 'ticket:read', on: inParams('ticket', 'ticketId'), tag: 'tickets', summary: 'What its agents did, in order',
  params: ById, query: PageQuery,
  response: pageOf(z.object({ at: Time, attemptId: z.string(), event: AgentEvent })),
})

export const Question = z.object({
  id: z.string(), ticketId: z.string(), attemptId: z.string(), text: z.string(), options: z.array(z.string()),
  /** `moot`: nobody waits for an answer any more, since its ticket was retried or cancelled. A question never ends by itself: silence is no answer, and a parked attempt holds nothing. */
  state: z.enum(['open', 'answered', 'moot']),
  answer: z.string().nullable(), answeredBy: z.string().nullable(), createdAt: Time, answeredAt: Time.nullable(),
})
export type Question = z.infer<typeof Question>
export const listQuestions = endpoint({
  method: 'GET', path: '/api/tickets/questions', access: ['person'], action: 'project:read', on: inQuery('project', 'projectId'), tag: 'tickets', summary: 'Questions that agents ask people, oldest first',
  query: PageQuery.extend({ open: z.enum(['true', 'false']).default('true'), projectId: z.string().optional(), ticketId: z.string().optional() }), response: pageOf(Question),
})
export const showQuestion = endpoint({
  method: 'GET', path: '/api/tickets/questions/:questionId', access: ['person'], action: 'question:read', on: inParams('question', 'questionId'), tag: 'tickets', summary: 'Shows a question of an agent, with its answer and who gave it',
  params: z.object({ questionId: z.string().max(40) }), response: Question,
})
export const answerQuestion = endpoint({
  method: 'POST', path: '/api/tickets/questions/:questionId/answer', access: ['person'], action: 'ticket:answer', on: inParams('question', 'questionId'), tag: 'tickets', summary: 'Answers a question; the parked attempt goes on. The first answer counts: the same one again is answered alike, another one is told who was first',
  params: z.object({ questionId: z.string().max(40) }), body: z.object({ answer: z.string().trim().min(1).max(20_000) }), response: Question,
})
