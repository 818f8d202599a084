import { BOARD_COLUMN_NAMES } from '@swarm/core/tickets/board.ts'
import { z } from 'zod'
import { endpoint, inQuery } from '../endpoint.ts'
import { pageOf, PageQuery, Slug, Time } from './shared.ts'
import { Priority, TicketSort, TicketState, TicketWaiting } from './tickets.ts'

/** What a view shows: the filters of the list of tickets, the columns of the board from left to right, and their order. */
export const ViewSettings = z.strictObject({
  filters: z.strictObject({
    state: z.array(TicketState).max(20).optional(), agent: z.array(Slug).max(50).optional(), text: z.string().trim().min(1).max(200).optional(), sessionId: z.string().max(200).optional(),
    waiting: TicketWaiting.optional(), minPriority: Priority.optional(), maxPriority: Priority.optional(),
  }).default({}),
  columns: z.array(z.enum(BOARD_COLUMN_NAMES)).min(1).max(BOARD_COLUMN_NAMES.length).refine((columns) => new Set(columns).size === columns.length, 'a column is named twice').default([...BOARD_COLUMN_NAMES]),
  sort: TicketSort.default('priority'),
})
export type ViewSettings = z.infer<typeof ViewSettings>

export const View = z.object({
  id: z.string(), name: z.string(),
  /** Null: all that its owner may see. */
  projectId: z.string().nullable(),
  /** Everybody in the project sees it, and those who work there change it. */
  shared: z.boolean(), ownerId: z.string(), mine: z.boolean(),
  settings: ViewSettings, changedBy: z.string(), createdAt: Time, updatedAt: Time,
})
export type View = z.infer<typeof View>

const Name = z.string().trim().min(1).max(100)
const ById = z.object({ viewId: z.string().max(200) })

export const listViews = endpoint({
  method: 'GET', path: '/api/views', access: ['person'], action: 'project:read', on: inQuery('project', 'projectId'), tag: 'views', summary: 'Lists your own views of boards and those that are shared with you, by age',
  query: PageQuery.extend({ projectId: z.string().max(200).optional() }), response: pageOf(View),
})
export const createView = endpoint({
  method: 'POST', path: '/api/views', access: ['person'], action: 'view:save', on: 'account', tag: 'views', status: 201, summary: 'Saves a view of a board for yourself, or shares it with its project',
  body: z.strictObject({ name: Name, projectId: z.string().max(200).optional(), shared: z.boolean().default(false), settings: ViewSettings.prefault({}) })
    .refine(({ shared, projectId }) => !shared || projectId !== undefined, { path: ['projectId'], message: 'a view is shared with a project: name it' }),
  response: View,
})
export const showView = endpoint({
  method: 'GET', path: '/api/views/:viewId', access: ['person'], action: 'view:save', on: 'account', tag: 'views', summary: 'Shows a view, with its entity tag', params: ById, response: View,
})
export const updateView = endpoint({
  method: 'PATCH', path: '/api/views/:viewId', access: ['person'], action: 'view:save', on: 'account', tag: 'views', summary: 'Changes a view; with If-Match only what it was when it was read',
  params: ById, body: z.strictObject({ name: Name, shared: z.boolean(), settings: ViewSettings }).partial(), response: View,
})
export const removeView = endpoint({
  method: 'DELETE', path: '/api/views/:viewId', access: ['person'], action: 'view:save', on: 'account', tag: 'views', status: 204, summary: 'Removes a view; with If-Match only what it was when it was read', params: ById, response: z.undefined(),
})
