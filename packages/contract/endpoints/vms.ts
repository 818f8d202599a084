import { z } from 'zod'
import { endpoint, inParams } from '../endpoint.ts'
import { VmHeldTo, VmSize } from '../runner-protocol.ts'
import { MAX_FORKS } from '../vm-operations.ts'
import { MicroVm, MicroVmUsage } from './runners.ts'
import { Time } from './shared.ts'

const ById = z.object({ vmId: z.string() })

/** What a person had done to a microVM: who, what and how it ended. What it printed is never recorded. */
export const VmOperation = z.object({
  id: z.string(), vmId: z.string(), kind: z.enum(['kill', 'pause', 'resume', 'fork', 'logs', 'exec', 'shell']),
  /** queued | running | done | failed | expired */
  state: z.string(),
  requestedBy: z.string(),
  /** Of exec and shell. */
  argv: z.array(z.string()).nullable(),
  reason: z.string().nullable(),
  exitCode: z.number().int().nullable(),
  /** Why it failed. */
  failure: z.string().nullable(),
  createdAt: Time, endedAt: Time.nullable(),
})
export type VmOperation = z.infer<typeof VmOperation>

export const MicroVmDetail = MicroVm.extend({
  runnerName: z.string(), ticketTitle: z.string().nullable(),
  templateKey: z.string(),
  /** SHA-256 (hex) of the guest image; null for a driver without one. */
  imageDigest: z.string().nullable(),
  /** Null of microVMs from before these were recorded. */
  size: VmSize.nullable(), limits: VmHeldTo.nullable(),
  endDetail: z.string().nullable(),
  /** The last 20, newest first. */
  operations: z.array(VmOperation),
})
export type MicroVmDetail = z.infer<typeof MicroVmDetail>

export const showVm = endpoint({
  method: 'GET', path: '/api/vms/:vmId', access: ['person'], action: 'vm:read', on: inParams('vm', 'vmId'), tag: 'microVMs',
  summary: 'Shows a microVM: whose it is, what it was given, what it uses, how it ended, and what people had done to it', params: ById, response: MicroVmDetail,
})

export const vmSamples = endpoint({
  method: 'GET', path: '/api/vms/:vmId/usage', access: ['person'], action: 'vm:read', on: inParams('vm', 'vmId'), tag: 'microVMs',
  summary: 'What a microVM used over time, oldest first, as far back as retention keeps it',
  params: ById, query: z.object({ since: z.coerce.number().int().min(0).default(0), limit: z.coerce.number().int().min(1).max(5_000).default(1_000) }),
  response: z.object({ items: z.array(MicroVmUsage.omit({ sampledAt: true, peakRssBytes: true }).extend({ at: Time })) }),
})

const Totals = z.object({
  /** MicroVMs that are not over, and those of them that were measured. */
  vms: z.number().int(), measured: z.number().int(), paused: z.number().int(),
  cpuMillicores: z.number().int(), rssBytes: z.number().int(), pssBytes: z.number().int(), scratchBytes: z.number().int(), openForwards: z.number().int(),
  /** Of those that are not over. */
  cpuMs: z.number().int(), egressBytes: z.number().int(),
})
export type VmTotals = z.infer<typeof Totals>

export const vmTotals = endpoint({
  method: 'GET', path: '/api/vms/usage', access: ['person'], action: 'system:metrics', on: 'installation', tag: 'microVMs', summary: 'What the microVMs use now: together, by runner and by project',
  response: z.object({ asOf: Time, total: Totals, runners: z.array(Totals.extend({ runnerId: z.string(), name: z.string() })), projects: z.array(Totals.extend({ projectId: z.string(), slug: z.string() })) }),
})

const Reason = z.string().trim().min(1, 'say why').max(500)

export const killVm = endpoint({
  method: 'POST', path: '/api/vms/:vmId/kill', access: ['person'], action: 'vm:operate', on: inParams('vm', 'vmId'), tag: 'microVMs', summary: 'Ends a microVM at once; what it worked on is tried again in another one',
  params: ById, body: z.object({ reason: Reason }), response: VmOperation,
})
export const pauseVm = endpoint({
  method: 'POST', path: '/api/vms/:vmId/pause', access: ['person'], action: 'vm:operate', on: inParams('vm', 'vmId'), tag: 'microVMs', summary: 'Has a microVM stand still; its leases are kept, its limit on wall clock runs on',
  params: ById, body: z.object({ reason: Reason.optional() }), response: VmOperation,
})
export const resumeVm = endpoint({
  method: 'POST', path: '/api/vms/:vmId/resume', access: ['person'], action: 'vm:operate', on: inParams('vm', 'vmId'), tag: 'microVMs', summary: 'Has a paused microVM go on, with its clock set right',
  params: ById, body: z.object({}), response: VmOperation,
})
export const forkVm = endpoint({
  method: 'POST', path: '/api/vms/:vmId/fork', access: ['person'], action: 'vm:operate', on: inParams('vm', 'vmId'), tag: 'microVMs', status: 201,
  summary: 'Makes microVMs that go on from where this one is, with ids, randomness and a disk of their own, and no way out; this one goes on as well',
  params: ById, body: z.object({ count: z.number().int().min(1).max(MAX_FORKS).default(1), /** They are ended after so long. */ minutes: z.number().positive().max(720).default(60) }),
  response: z.object({ operation: VmOperation, vmIds: z.array(z.string()) }),
})
export const vmLogs = endpoint({
  method: 'GET', path: '/api/vms/:vmId/logs', access: ['person'], action: 'vm:operate', on: inParams('vm', 'vmId'), tag: 'microVMs',
  summary: 'What a microVM wrote: its console, and the output of what ran in it, as far as its runner still has it',
  params: ById, query: z.object({ bytes: z.coerce.number().int().min(1).max(512 * 1024).default(64 * 1024) }),
  response: z.object({ console: z.string(), output: z.string(), /** Older parts were dropped. */ truncated: z.boolean() }),
})
