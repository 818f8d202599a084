import { z } from 'zod'
import { endpoint } from '../endpoint.ts'
import { Time } from './shared.ts'

export const Runner = z.object({
  id: z.string(), name: z.string(), driver: z.string().nullable(), isolates: z.boolean().nullable(), capacity: z.number().int(),
  /** Derived from its last call: online for 30 s after it. */
  online: z.boolean(),
  /** Why it has room for no further microVM, as it said last; null while it has, or asks for no work. */
  noRoom: z.string().nullable(),
  seenAt: Time.nullable(), createdAt: Time,
})
export const listRunners = endpoint({
  method: 'GET', path: '/api/runners', access: ['admin'], tag: 'runners', summary: 'Lists runner hosts', response: z.object({ items: z.array(Runner) }),
})

export const MicroVm = z.object({
  id: z.string(), runnerId: z.string(), workKind: z.string(), workId: z.string(), ticketId: z.string().nullable(), projectId: z.string(),
  driver: z.string(), state: z.string(), restoreMs: z.number().nullable(), endReason: z.string().nullable(), startedAt: Time, endedAt: Time.nullable(),
})
export const listVms = endpoint({
  method: 'GET', path: '/api/vms', access: ['admin'], tag: 'microVMs', summary: 'Lists microVMs, newest first',
  query: z.object({ state: z.enum(['starting', 'running', 'ended']).optional(), projectId: z.string().optional(), limit: z.coerce.number().int().min(1).max(1000).default(200) }),
  response: z.object({ items: z.array(MicroVm) }),
})
