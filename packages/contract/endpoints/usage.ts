import { z } from 'zod'
import { endpoint, inQuery } from '../endpoint.ts'
import { pageOf, PageQuery, repeated, Time } from './shared.ts'

/** What usage is added up by. Days are of UTC. */
export const UsageGroup = z.enum(['project', 'agent', 'model', 'day'])
export type UsageGroup = z.infer<typeof UsageGroup>

const Id = z.string().max(200)
const Filter = z.object({
  projectId: Id.optional(), sessionId: Id.optional(), ticketId: Id.optional(), agent: Id.optional(), model: Id.optional(),
  /** From this time on, and before this one, ms since the epoch. */
  since: z.coerce.number().int().min(0).optional(), until: z.coerce.number().int().min(0).optional(),
})

/** Calls that were settled: what they cost, and what of it is an upper bound since their answer was cut. */
export const UsageAmounts = z.object({
  calls: z.number().int(), inputTokens: z.number().int(), outputTokens: z.number().int(), cacheReadTokens: z.number().int(), cacheWriteTokens: z.number().int(),
  costMicroUsd: z.number().int(), estimatedMicroUsd: z.number().int(),
  /** Attempts that began in the time, how long those that are over took (parked time included), and the tickets that they are of. */
  attempts: z.number().int(), wallMs: z.number().int(), tickets: z.number().int(),
  /** Of these tickets, those whose change was merged; each is counted where the attempt is that led to it. */
  merged: z.number().int(),
})
export type UsageAmounts = z.infer<typeof UsageAmounts>

export const UsageRow = UsageAmounts.extend({
  /** Null where it was not asked to be told apart. */
  projectId: z.string().nullable(), project: z.string().nullable(),
  /** Of calls that no attempt made: their role, such as designer. */
  agent: z.string().nullable(),
  /** Of attempts: the model that they called. Empty where they called none. */
  model: z.string().nullable(),
  day: z.iso.date().nullable(),
})
export type UsageRow = z.infer<typeof UsageRow>

export const listUsage = endpoint({
  method: 'GET', path: '/api/usage', access: ['person'], action: 'usage:read', on: inQuery('project', 'projectId'), tag: 'usage',
  summary: 'What model calls used and cost, with the attempts and tickets behind them, by any of project, agent, model and day, and in all',
  query: PageQuery.extend({ ...Filter.shape, groupBy: repeated(UsageGroup, 4).optional() }), response: pageOf(UsageRow).extend({ /** Over all pages. */ total: UsageAmounts, asOf: Time }),
})
export const exportUsage = endpoint({
  method: 'GET', path: '/api/usage/export', access: ['person'], action: 'usage:read', on: inQuery('project', 'projectId'), tag: 'usage', summary: 'The same as a file: JSON lines or CSV',
  query: Filter.extend({ groupBy: repeated(UsageGroup, 4).optional(), format: z.enum(['jsonl', 'csv']).default('jsonl') }), response: z.unknown().describe('Lines of JSON, or CSV with a header'),
})
