import { ENTRY_TRANSITIONS, type EntryState } from '@swarm/core/merge/batches.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Updateable } from 'kysely'
import type { MergeEntriesTable } from '../../db/schema.ts'
import { signal, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { ChangeDependencies } from './dependencies.ts'
import { entryOf, moveEntryRow, setQueue, upsertEntry, type EntryRow } from './merge-queries.ts'
import { changeById, moveChange, ticketOf } from './queries.ts'
import { evidence } from './verification.ts'

/** The only writer of an entry's state after it was queued: table, compare-and-set, event. False when another replica was first. */
export async function moveEntry(trx: Trx, entry: EntryRow, to: EntryState, patch: Updateable<MergeEntriesTable>, correlationId: string): Promise<boolean> {
  const from = entry.state as EntryState
  if (!(ENTRY_TRANSITIONS[from] as readonly EntryState[]).includes(to)) throw new DomainError('illegal_transition', { kind: 'merge entry', id: entry.change_id, from, to })
  if (!await moveEntryRow(trx, entry, { ...patch, state: to })) return false
  await announce(trx, { ...entry, ...patch, state: to } as EntryRow, from, correlationId)
  return true
}

/** Puts a change into the queue; whatever became of an earlier entry of the same change is history. */
export async function queueEntry(trx: Trx, row: EntryRow, correlationId: string): Promise<void> {
  const before = (await entryOf(trx, row.change_id))?.state ?? null
  await upsertEntry(trx, row)
  await announce(trx, row, before, correlationId)
}

async function announce(trx: Trx, entry: EntryRow, from: string | null, correlationId: string): Promise<void> {
  const change = await changeById(trx, entry.change_id)
  await appendEvents(trx, [{
    type: 'merge:update', projectId: change?.project_id ?? null, subject: { kind: 'change', id: entry.change_id }, correlationId,
    data: {
      ticketId: entry.ticket_id, repositoryId: entry.repository_id, from, to: entry.state, headSha: entry.head_sha, approvalId: entry.approval_id,
      batchId: entry.batch_id, baseSha: entry.base_sha, candidateSha: entry.candidate_sha, checkId: entry.check_id, losses: entry.losses, reason: entry.reason,
    },
  }])
  signal(trx, 'work')
}

/** Of the attempt whose work it is. */
export async function correlationOf(trx: Trx, entry: Pick<EntryRow, 'ticket_id' | 'change_id'>): Promise<string> {
  const last = await trx.selectFrom('attempts').select('correlation_id').where('ticket_id', '=', entry.ticket_id).where('state', '=', 'succeeded').orderBy('number', 'desc').executeTakeFirst()
  return last?.correlation_id ?? entry.change_id
}

/** What an entry is again when its batch is taken apart: it keeps its place. */
export const WAITING = { batch_id: null, base_sha: null, candidate_sha: null, check_id: null } as const

/** The ticket was taken out of the queue; nothing else is to be done about it. */
export async function cancelEntry(trx: Trx, deps: ChangeDependencies, entry: EntryRow, reason: string): Promise<boolean> {
  const correlationId = await correlationOf(trx, entry)
  if (!await moveEntry(trx, entry, 'cancelled', { reason, updated_at: deps.now() }, correlationId)) return false
  await tell(trx, entry, 'change:dequeued', { reason }, correlationId)
  return true
}

export interface Return {
  readonly failureClass: 'conflict' | 'checks' | 'policy'; readonly reason: string
  readonly parts: { readonly conflict?: string; readonly checkOutput?: string }
  /** Where the ticket's next attempt starts; at its own head unless given. */
  readonly start?: { readonly baseSha: string; readonly startSha: string }
}
/** Sends the ticket back with what went wrong. */
export async function returnEntry(trx: Trx, deps: ChangeDependencies, entry: EntryRow, why: Return): Promise<boolean> {
  const { failureClass, reason, parts, start } = why
  const correlationId = await correlationOf(trx, entry)
  if (!await moveEntry(trx, entry, 'returned', { reason, updated_at: deps.now() }, correlationId)) return false
  await deps.tickets.returned(trx, { ticketId: entry.ticket_id, failureClass, reason, evidence: evidence(failureClass, reason, parts), correlationId, ...(start ? { start } : {}) })
  await tell(trx, entry, 'change:returned', { reason, failureClass }, correlationId)
  return true
}

export interface Landing { readonly sha: string; readonly baseSha: string; readonly tipSha: string; readonly checkId: string | null; readonly batchId: string | null; readonly paths: readonly string[] }
/** Main holds it: entry, change and ticket are settled together, once. */
export async function mergeEntry(trx: Trx, deps: ChangeDependencies, entry: EntryRow, landing: Landing): Promise<boolean> {
  const now = deps.now()
  const { sha, paths } = landing
  const correlationId = await correlationOf(trx, entry)
  if (!await moveEntry(trx, entry, 'merged', { base_sha: landing.baseSha, candidate_sha: sha, reason: null, updated_at: now }, correlationId)) return false
  await moveChange(trx, { id: entry.change_id, headSha: entry.head_sha }, { state: 'merged', merged_sha: sha, updated_at: now })
  const ticket = await ticketOf(trx, entry.ticket_id)
  // Main has moved, so the ticket is done, even when a person held it in that very moment.
  if (ticket.state === 'merging' || ticket.state === 'on_hold') await deps.tickets.merged(trx, { ticketId: entry.ticket_id, sha, correlationId, paths })
  await tell(trx, entry, 'change:merged', { sessionId: ticket.session_id, ...landing, ticketState: ticket.state }, correlationId)
  return true
}

async function tell(trx: Trx, entry: EntryRow, type: string, data: Record<string, unknown>, correlationId: string): Promise<void> {
  const change = await changeById(trx, entry.change_id)
  await appendEvents(trx, [{ type, projectId: change?.project_id ?? null, subject: { kind: 'change', id: entry.change_id }, correlationId, data: { ticketId: entry.ticket_id, headSha: entry.head_sha, ...data } }])
  signal(trx, 'work')
}

/** Stops the queue of a repository until a person resumes it. */
export async function pauseQueue(trx: Trx, deps: ChangeDependencies, about: { repositoryId: string; projectId: string; reason: string; correlationId: string }): Promise<void> {
  const { repositoryId, projectId, reason, correlationId } = about
  await setQueue(trx, repositoryId, reason, deps.now())
  await appendEvents(trx, [{ type: 'queue:paused', projectId, subject: { kind: 'repository', id: repositoryId }, correlationId, data: { reason, by: 'swarm', repositoryId } }])
  signal(trx, 'work')
}
