import { z } from 'zod'
import { endpoint, inQuery } from '../endpoint.ts'
import { VmUsage } from '../runner-protocol.ts'
import { pageOf, PageQuery, Time } from './shared.ts'

export const Runner = z.object({
  id: z.string(), name: z.string(), driver: z.string().nullable(), isolates: z.boolean().nullable(), capacity: z.number().int(),
  /** Derived from its last call: online for 30 s after it. */
  online: z.boolean(),
  /** Why it has room for no further microVM, as it said last; null while it has, or asks for no work. */
  noRoom: z.string().nullable(),
  seenAt: Time.nullable(), createdAt: Time,
})
export const listRunners = endpoint({
  method: 'GET', path: '/api/runners', access: ['person'], action: 'runner:read', on: 'installation', tag: 'runners', summary: 'Lists runner hosts by name', query: PageQuery, response: pageOf(Runner),
})

/** What a microVM uses, or used when it ended. */
export const MicroVmUsage = VmUsage.omit({ vmId: true }).extend({
  /** Cores, in thousandths, between its last two measurements. */
  cpuMillicores: z.number().int(),
  /** Highest resident memory that was measured. */
  peakRssBytes: z.number().int(),
  sampledAt: Time,
})
export type MicroVmUsage = z.infer<typeof MicroVmUsage>

export const MicroVm = z.object({
  id: z.string(), runnerId: z.string(), workKind: z.string(), workId: z.string(), ticketId: z.string().nullable(), projectId: z.string(),
  driver: z.string(), state: z.string(), restoreMs: z.number().nullable(), endReason: z.string().nullable(), startedAt: Time, endedAt: Time.nullable(),
  /** A person has it stand still. */
  paused: z.boolean(),
  /** The microVM that it was forked from. */
  parentId: z.string().nullable(),
  /** Null until it was measured. */
  usage: MicroVmUsage.nullable(),
})
export type MicroVm = z.infer<typeof MicroVm>
export const listVms = endpoint({
  method: 'GET', path: '/api/vms', access: ['person'], action: 'project:read', on: inQuery('project', 'projectId'), tag: 'microVMs', summary: 'Lists microVMs, newest first',
  query: PageQuery.extend({ state: z.enum(['starting', 'running', 'ended']).optional(), projectId: z.string().max(200).optional(), limit: z.coerce.number().int().min(1).max(1000).default(200) }),
  response: pageOf(MicroVm),
})
