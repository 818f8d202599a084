import type { Kysely } from 'kysely'
import type { Schema } from '../../db/schema.ts'
import type { TicketRow } from './queries.ts'

/* What other features record about a ticket that bears on why it waits; read only, all by ticket. */

type Db = Kysely<Schema>

/** The question that a parked attempt of each ticket waits for. */
export async function openQuestions(db: Db, ids: readonly string[]): Promise<Map<string, { id: string; text: string }>> {
  if (ids.length === 0) return new Map()
  const rows = await db.selectFrom('questions').innerJoin('attempts', 'attempts.id', 'questions.attempt_id').select(['questions.id', 'questions.ticket_id', 'questions.text'])
    .where('attempts.ticket_id', 'in', [...ids]).where('attempts.state', '=', 'parked').where('questions.answer', 'is', null).execute()
  return new Map(rows.map(({ ticket_id, ...question }) => [ticket_id, question]))
}

/** The open approval about the spending of a ticket that stopped for want of budget, of its session or of its project. */
export async function budgetApprovals(db: Db, rows: readonly TicketRow[]): Promise<Map<string, string>> {
  const stopped = rows.filter((row) => row.state === 'on_hold' && ((JSON.parse(row.failure_counts) as { budget?: number }).budget ?? 0) > 0)
  if (stopped.length === 0) return new Map()
  const subjects = stopped.flatMap((row) => [row.id, row.session_id ?? row.id, row.project_id])
  const open = await db.selectFrom('approvals').select(['id', 'subject_id']).where('kind', '=', 'budget_breach').where('status', '=', 'pending').where('subject_id', 'in', [...new Set(subjects)]).orderBy('created_at').execute()
  const about = new Map(open.map((approval) => [approval.subject_id, approval.id]))
  return new Map(stopped.flatMap((row) => {
    const approval = about.get(row.id) ?? about.get(row.session_id ?? '') ?? about.get(row.project_id)
    return approval === undefined ? [] : [[row.id, approval]]
  }))
}

export async function changesUnderReview(db: Db, ids: readonly string[]): Promise<Map<string, { id: string; approval: string | null; reviewer: string | null }>> {
  if (ids.length === 0) return new Map()
  const rows = await db.selectFrom('changes').leftJoin('approvals', (join) => join.onRef('approvals.subject_id', '=', 'changes.id').on('approvals.subject_kind', '=', 'change').on('approvals.status', '=', 'pending'))
    .leftJoin('agent_reviews', (join) => join.onRef('agent_reviews.change_id', '=', 'changes.id').onRef('agent_reviews.head_sha', '=', 'changes.head_sha').on('agent_reviews.state', '=', 'pending'))
    .select(['changes.id', 'changes.ticket_id', 'approvals.id as approval', 'agent_reviews.change_id as reviewing', 'agent_reviews.failure']).where('changes.ticket_id', 'in', [...ids]).where('changes.state', '=', 'open').execute()
  return new Map(rows.map(({ ticket_id, reviewing, failure, ...change }) => [ticket_id, { ...change, reviewer: reviewing === null ? null : failure ?? '' }]))
}

/** Place in the merge queue of its repository, 1 for the entry at work, and why the queue is paused. */
export async function mergePlaces(db: Db, ids: readonly string[]): Promise<Map<string, { position: number; paused: string | null }>> {
  if (ids.length === 0) return new Map()
  const repositories = db.selectFrom('merge_entries as mine').select('mine.repository_id').where('mine.ticket_id', 'in', [...ids]).where('mine.state', 'in', ['queued', 'checking'])
  const entries = await db.selectFrom('merge_entries').leftJoin('merge_queues', 'merge_queues.repository_id', 'merge_entries.repository_id')
    .select(['merge_entries.ticket_id', 'merge_entries.repository_id', 'merge_queues.paused_reason as paused'])
    .where('merge_entries.state', 'in', ['queued', 'checking']).where('merge_entries.repository_id', 'in', repositories)
    // `checking` comes before `queued` in the alphabet, as it does in the queue.
    .orderBy('merge_entries.state').orderBy('merge_entries.created_at').orderBy('merge_entries.change_id').execute()
  const positions = new Map<string, number>()
  return new Map(entries.map((entry) => {
    const position = (positions.get(entry.repository_id) ?? 0) + 1
    positions.set(entry.repository_id, position)
    return [entry.ticket_id, { position, paused: entry.paused }]
  }))
}

/** The check run of each ticket that no runner has taken; one that is to be tried again says from when. */
export async function queuedChecks(db: Db, ids: readonly string[]): Promise<Map<string, { id: string; notBefore: number | null; failure: string | null }>> {
  if (ids.length === 0) return new Map()
  const rows = await db.selectFrom('check_runs').select(['id', 'ticket_id', 'lease_expires_at as notBefore', 'failure']).where('ticket_id', 'in', [...ids]).where('state', '=', 'queued').orderBy('created_at').execute()
  return new Map(rows.flatMap(({ ticket_id, ...check }) => (ticket_id === null ? [] : [[ticket_id, check]])))
}

/** Tickets with an attempt that a runner still holds. */
export async function attemptsHeld(db: Db, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set()
  return new Set((await db.selectFrom('attempts').select('ticket_id').where('ticket_id', 'in', [...ids]).where('state', '=', 'running').execute()).map((row) => row.ticket_id))
}

/** Runners heard from since then, each with the reason why it has room for no further microVM, if it has none. */
export async function runnersSeenSince(db: Db, at: number): Promise<{ name: string; noRoom: string | null }[]> {
  const rows = await db.selectFrom('runners').select(['id', 'name', 'no_room', 'draining_at']).where('seen_at', '>', at).where('removed_at', 'is', null).orderBy('name').execute()
  return rows.map(({ id, name, no_room, draining_at }) => ({ name, noRoom: draining_at === null ? no_room : `it is drained; swarm runner undrain ${id} gives it work again` }))
}
