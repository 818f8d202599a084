import { z } from 'zod'
import { MicroVmUsage } from './endpoints/runners.ts'

/*
 * The wire of /ws: JSON text messages.
 *
 *   client → server   {subscribe: {rooms, cursor}}   replaces the earlier subscription; cursor null = from now on
 *   server → client   {type: 'phase', phase: 'backfill' | 'live', cursor}
 *                     {type: 'event', cursor, event}  each event of the rooms once, in order, from the cursor on
 *                     {type: 'heartbeat', cursor}     every 15 s, with a ping: who does not answer it is cut off (1006)
 *                     {type: 'error', error}          the subscription was refused; the connection stays
 *
 * After a subscription the server says `backfill`, sends what happened since the cursor, then says `live`. Keep the last
 * cursor seen: subscribing again with it continues without a gap and without a repeat. Rooms: `session:<id>`,
 * `ticket:<id>`, `project:<id>`, `tenant:<organisation>` (id or short name) for every event of an organisation in the projects
 * that the caller may see, and `vms` for what microVMs of those projects use. Each room is asked of the policies when it is
 * subscribed to, and again whenever rights change: who may not be in a room any more is closed with 4403.
 */

/** Types of events that live clients get; there are others in the log, for the server alone. */
export const LIVE_EVENT_TYPES = [
  'session:update', 'session:message', 'approval:requested', 'approval:resolved', 'approval:reminded', 'approval:escalated', 'spec:generated', 'tickets:generated',
  'build:progress', 'ticket:update', 'ticket:edited', 'ticket:progress', 'ticket:activity', 'check:update', 'change:created', 'change:queued', 'change:merged', 'change:returned', 'merge:update', 'batch:update',
  'change:closed', 'change:reviewed', 'change:commented', 'evidence:sealed', 'queue:paused', 'queue:resumed', 'budget:threshold', 'budget:breach', 'budget:raised', 'budget:set', 'model:circuit', 'vm:update', 'vm:operation', 'agent:update',
] as const

/** Why the server closed a live connection. */
export const LIVE_CLOSE_CODES = {
  /** A message that is not of this protocol, or none within 10 s of opening. */
  protocol: 4400,
  /** The token expired or was revoked meanwhile: sign in again. */
  unauthenticated: 4401,
  /** A room of the subscription is not for this caller any more: subscribe again to those that are. */
  forbidden: 4403,
  /** More than 1 MiB was waiting to be sent: resume from the last cursor. */
  slow_consumer: 4408,
  /** The server is stopping: connect again in a moment. */
  stopping: 1001,
} as const

export const HEARTBEAT_MS = 15_000

export const Room = z.string().regex(/^(session|ticket|project|tenant):[A-Za-z0-9_-]{1,64}$|^vms$/, 'session:<id>, ticket:<id>, project:<id>, tenant:<organisation> or vms')

export const LiveSubscribe = z.strictObject({ subscribe: z.strictObject({ rooms: z.array(Room).min(1).max(100), cursor: z.string().max(200).nullable() }) })
export type LiveSubscribe = z.infer<typeof LiveSubscribe>

export const LiveEvent = z.object({
  type: z.enum(LIVE_EVENT_TYPES),
  projectId: z.string().nullable(),
  subject: z.object({ kind: z.string(), id: z.string() }),
  data: z.record(z.string(), z.unknown()),
  correlationId: z.string(),
  /** ms since the epoch. */
  at: z.number().int(),
})
export type LiveEvent = z.infer<typeof LiveEvent>

export const LiveMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('phase'), phase: z.enum(['backfill', 'live']), cursor: z.string() }),
  z.object({ type: z.literal('event'), cursor: z.string(), event: LiveEvent }),
  z.object({ type: z.literal('heartbeat'), cursor: z.string() }),
  z.object({ type: z.literal('vm_usage'), items: z.array(MicroVmUsage.extend({ vmId: z.string(), runnerId: z.string(), projectId: z.string() })) }),
  z.object({ type: z.literal('error'), error: z.object({ code: z.string(), message: z.string(), remedy: z.string() }) }),
])
export type LiveMessage = z.infer<typeof LiveMessage>

/**
 * The rooms that an event is sent to, besides those of organisations: its project, its subject, and the session and ticket
 * that its data names.
 */
export function roomsOf(event: Pick<LiveEvent, 'projectId' | 'subject' | 'data'>): string[] {
  const rooms = new Set<string>()
  if (event.projectId !== null) rooms.add(`project:${event.projectId}`)
  if (event.subject.kind === 'ticket' || event.subject.kind === 'session') rooms.add(`${event.subject.kind}:${event.subject.id}`)
  const { ticketId, sessionId } = event.data
  if (typeof ticketId === 'string') rooms.add(`ticket:${ticketId}`)
  if (typeof sessionId === 'string') rooms.add(`session:${sessionId}`)
  return [...rooms]
}
