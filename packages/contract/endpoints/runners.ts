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
  /** It is given no new work; null while it is. */
  draining: z.object({ since: Time, by: z.string(), reason: z.string() }).nullable(),
  seenAt: Time.nullable(), createdAt: Time,
})
export const listRunners = endpoint({
  method: 'GET', path: '/api/runners', access: ['person'], action: 'runner:read', on: 'installation', tag: 'runners', summary: 'Lists runner hosts by name', query: PageQuery, response: pageOf(Runner),
})

const ByRunner = z.object({ runnerId: z.string().max(200) })

export const RunnerDetail = Runner.extend({
  /** Starts of its process, the last 50, newest first. */
  boots: z.array(z.object({ bootId: z.string(), current: z.boolean(), at: Time })),
  /** What it holds a lease on, in the projects that the caller may see; `held` counts the others as well. */
  holds: z.array(z.object({ kind: z.enum(['attempt', 'check']), id: z.string(), ticketId: z.string().nullable(), projectId: z.string(), vmId: z.string().nullable(), since: Time, leaseExpiresAt: Time.nullable() })),
  held: z.number().int(),
  /** Its microVMs that are not over, by state; those that stand still are `paused`. */
  vms: z.object({ starting: z.number().int(), running: z.number().int(), paused: z.number().int() }),
  /** Those that ended since the time asked for, by day (UTC) and reason, oldest first. */
  ended: z.array(z.object({ day: z.iso.date(), reason: z.string(), vms: z.number().int() })),
})
export type RunnerDetail = z.infer<typeof RunnerDetail>

export const showRunner = endpoint({
  method: 'GET', path: '/api/runners/:runnerId', access: ['person'], action: 'runner:read', on: 'installation', tag: 'runners', summary: 'Shows a host: what it runs now, when it was started, and how its microVMs ended',
  params: ByRunner, query: z.object({ /** Of what ended, how far back, ms since the epoch; 14 days unless given. */ since: z.coerce.number().int().min(0).optional() }), response: RunnerDetail,
})
export const drainRunner = endpoint({
  method: 'POST', path: '/api/runners/:runnerId/drain', access: ['person'], action: 'runner:drain', on: 'installation', tag: 'runners', summary: 'Gives a host no new work; what it holds it brings to its end',
  params: ByRunner, body: z.object({ reason: z.string().trim().min(1, 'say why').max(500) }), response: Runner,
})
export const undrainRunner = endpoint({
  method: 'POST', path: '/api/runners/:runnerId/undrain', access: ['person'], action: 'runner:drain', on: 'installation', tag: 'runners', summary: 'Gives a host work again',
  params: ByRunner, response: Runner,
})
export const removeRunner = endpoint({
  method: 'DELETE', path: '/api/runners/:runnerId', access: ['person'], action: 'runner:register', on: 'installation', tag: 'runners', status: 204,
  summary: 'Takes away a host that is offline and holds nothing: its token is revoked, its history stays; registering its name brings it back', params: ByRunner, response: z.undefined(),
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
/** States of a microVM, and `paused`: one that runs, but stands still. */
export const VmStateFilter = z.enum(['starting', 'running', 'paused', 'ended'])
export const listVms = endpoint({
  method: 'GET', path: '/api/vms', access: ['person'], action: 'project:read', on: inQuery('project', 'projectId'), tag: 'microVMs', summary: 'Lists microVMs, newest first',
  query: PageQuery.extend({
    state: VmStateFilter.optional(), projectId: z.string().max(200).optional(), runnerId: z.string().max(200).optional(), ticketId: z.string().max(200).optional(),
    /** Those that ran at this time or later, ms since the epoch. */
    since: z.coerce.number().int().min(0).optional(),
    limit: z.coerce.number().int().min(1).max(1000).default(200),
  }),
  response: pageOf(MicroVm),
})
