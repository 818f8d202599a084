import { ACTIVE, CLAIMABLE } from '@swarm/core/tickets/machine.ts'
import type { TicketState } from '@swarm/core/tickets/machine.ts'
import { REVIEW_PATIENCE_MS } from '@swarm/core/tickets/predicted-files.ts'
import type { ExpectedFiles } from '@swarm/core/tickets/predicted-files.ts'
import type { Insertable, Kysely, Selectable, Updateable } from 'kysely'
import { dialectOf, forUpdate } from '../../db/dialect.ts'
import type { AttemptsTable, Schema, TicketsTable } from '../../db/schema.ts'
import { sql } from 'kysely'
import { storedFiles } from './file-history.ts'

type Db = Kysely<Schema>
export type TicketRow = Selectable<TicketsTable>
export type AttemptRow = Selectable<AttemptsTable>

export async function ticketById(db: Db, id: string): Promise<TicketRow | undefined> {
  return db.selectFrom('tickets').selectAll().where('id', '=', id).executeTakeFirst()
}

export async function attemptById(db: Db, id: string): Promise<AttemptRow | undefined> {
  return db.selectFrom('attempts').selectAll().where('id', '=', id).executeTakeFirst()
}

/**
 * The ticket with its row locked on PostgreSQL. Whoever is going to change a ticket, or an attempt of it, takes this lock
 * before it looks at either: what it has seen then holds until it commits.
 */
export async function lockTicket(db: Db, id: string): Promise<TicketRow | undefined> {
  const query = db.selectFrom('tickets').selectAll().where('id', '=', id)
  // No key changes: rows that refer to the ticket may be written meanwhile.
  return (dialectOf(db) === 'postgres' ? query.forNoKeyUpdate() : query).executeTakeFirst()
}

export async function insertTicket(db: Db, row: Insertable<TicketsTable>): Promise<void> {
  await db.insertInto('tickets').values(row).execute()
}

export async function insertDependencies(db: Db, pairs: { ticket_id: string; depends_on_id: string }[]): Promise<void> {
  if (pairs.length > 0) await db.insertInto('ticket_dependencies').values(pairs).execute()
}

export async function replaceDependencies(db: Db, ticketId: string, parentIds: readonly string[]): Promise<void> {
  await db.deleteFrom('ticket_dependencies').where('ticket_id', '=', ticketId).execute()
  await insertDependencies(db, [...new Set(parentIds)].map((id) => ({ ticket_id: ticketId, depends_on_id: id })))
}

export async function ticketKeysOf(db: Db, sessionId: string): Promise<{ id: string; key: string }[]> {
  return db.selectFrom('tickets').select(['id', 'key']).where('session_id', '=', sessionId).orderBy('id').execute()
}

/** The compare-and-set behind every transition: false when the ticket is no longer in `from`. */
export async function moveTicketRow(db: Db, id: string, from: TicketState, to: TicketState, patch: Updateable<TicketsTable>): Promise<boolean> {
  const result = await db.updateTable('tickets').set({ ...patch, state: to }).where('id', '=', id).where('state', '=', from).executeTakeFirst()
  return result.numUpdatedRows === 1n
}

export async function patchTicket(db: Db, id: string, patch: Updateable<TicketsTable>): Promise<void> {
  await db.updateTable('tickets').set(patch).where('id', '=', id).execute()
}

/** Compare-and-set on state and fence: false when the race was lost. */
export async function moveAttemptRow(db: Db, attempt: { id: string; fence: number; state: string }, patch: Updateable<AttemptsTable>): Promise<boolean> {
  const result = await db.updateTable('attempts').set(patch)
    .where('id', '=', attempt.id).where('fence', '=', attempt.fence).where('state', '=', attempt.state).executeTakeFirst()
  return result.numUpdatedRows === 1n
}

/** On PostgreSQL one claim at a time, since the overlap rule looks at what else runs; on SQLite the writer is alone anyway. */
export async function lockDispatch(db: Db): Promise<void> {
  if (dialectOf(db) === 'postgres') await sql`select pg_advisory_xact_lock(hashtext('swarm.dispatch'))`.execute(db)
}

/** Literally the condition of the index tickets_claimable, by which the databases know that it holds what is asked for. */
const claimable = sql<boolean>`tickets.state in (${sql.join(CLAIMABLE.map((state) => sql.lit(state)))}) and tickets.open_dependencies = 0`

/**
 * Tickets that could be claimed now: dependencies merged, the retry time reached, and no runner holds an earlier attempt.
 * `open_dependencies` finds them in an index; that every parent is done is asked of the parents themselves, always.
 */
function couldBeClaimed(db: Db, now: number) {
  return db.selectFrom('tickets').where(claimable)
    .where((eb) => eb.or([eb('tickets.retry_at', 'is', null), eb('tickets.retry_at', '<=', now)]))
    .where((eb) => eb.not(eb.exists(
      eb.selectFrom('ticket_dependencies').innerJoin('tickets as parent', 'parent.id', 'ticket_dependencies.depends_on_id')
        .select('parent.id').whereRef('ticket_dependencies.ticket_id', '=', 'tickets.id').where('parent.state', '!=', 'done'),
    )))
    // Held and retried while its runner still saves what it has: the runner gives that back first, or its lease ends.
    .where((eb) => eb.not(eb.exists(
      eb.selectFrom('attempts').select('attempts.id').whereRef('attempts.ticket_id', '=', 'tickets.id').where('attempts.state', '=', 'running'),
    )))
    .orderBy('tickets.priority', 'desc').orderBy('tickets.ready_at').orderBy('tickets.id')
}

/** Of each project that has something to claim, what comes first in it: priority, then age. One step into an index a project, however many tickets it has. */
export async function firstOfEachProject(db: Db, now: number): Promise<TicketRow[]> {
  const query = db.selectFrom('projects').innerJoin('tickets as first', (join) => join.on((eb) => eb('first.id', '=',
    couldBeClaimed(db, now).select('tickets.id').where('tickets.project_id', '=', eb.ref('projects.id')).limit(1))))
    .selectAll('first')
  return (dialectOf(db) === 'postgres' ? query.forUpdate('first').skipLocked() : query).execute()
}

/** What could be claimed in a project, in order, `limit` at most. */
export async function claimCandidates(db: Db, projectId: string, now: number, limit: number): Promise<TicketRow[]> {
  const query = couldBeClaimed(db, now).selectAll('tickets').where('tickets.project_id', '=', projectId).limit(limit)
  return (dialectOf(db) === 'postgres' ? query.forUpdate('tickets').skipLocked() : query).execute()
}

/** A parent was merged: its dependents wait for one less, and those that waited for nothing else could be claimed from now on. */
export async function releaseDependents(db: Db, ticketId: string, now: number): Promise<void> {
  await db.updateTable('tickets').set((eb) => ({
    open_dependencies: eb('open_dependencies', '-', 1),
    ready_at: eb.case().when('open_dependencies', '=', 1).then(now).else(eb.ref('ready_at')).end(),
  })).where('id', 'in', (eb) => eb.selectFrom('ticket_dependencies').select('ticket_dependencies.ticket_id').where('ticket_dependencies.depends_on_id', '=', ticketId)).execute()
}

/** Those of these tickets that are not done. Their rows are locked on PostgreSQL: none is merged between being counted and the commit. */
export async function unfinishedAmong(db: Db, ticketIds: readonly string[]): Promise<Set<string>> {
  const open = new Set<string>()
  for (let from = 0; from < ticketIds.length; from += 500) {
    const rows = await forUpdate(db, db.selectFrom('tickets').select(['id', 'state']).where('id', 'in', ticketIds.slice(from, from + 500)).orderBy('id')).execute()
    for (const { id, state } of rows) if (state !== 'done') open.add(id)
  }
  return open
}

export type ActiveTicket = Pick<TicketRow, 'id' | 'title' | 'project_id' | 'repository_id' | 'state' | 'updated_at'> & { readonly files: ExpectedFiles }

/** Tickets that are worked on or on their way to main, with the files that they are expected to write; not those whose review takes longer than others wait for. */
export async function activeTickets(db: Db, now: number): Promise<ActiveTicket[]> {
  const rows = await db.selectFrom('tickets').select(['id', 'title', 'project_id', 'repository_id', 'state', 'updated_at', 'predicted_files'])
    .where((eb) => eb.or([
      eb('state', 'in', ACTIVE.filter((state) => state !== 'in_review')), eb.and([eb('state', '=', 'in_review'), eb('updated_at', '>', now - REVIEW_PATIENCE_MS)]),
    ])).execute()
  return rows.map(({ predicted_files, ...row }) => ({ ...row, files: storedFiles({ predicted_files }) }))
}

export async function earliestRetry(db: Db, now: number): Promise<number | null> {
  const row = await db.selectFrom('tickets').select((eb) => eb.fn.min('retry_at').as('at')).where('state', 'in', [...CLAIMABLE]).where('retry_at', '>', now).executeTakeFirst()
  return row?.at == null ? null : Number(row.at)
}

export async function dependenciesOf(db: Db, ticketIds: readonly string[]): Promise<{ ticket_id: string; depends_on_id: string; state: string; title: string }[]> {
  if (ticketIds.length === 0) return []
  return db.selectFrom('ticket_dependencies').innerJoin('tickets as parent', 'parent.id', 'ticket_dependencies.depends_on_id')
    .select(['ticket_dependencies.ticket_id', 'ticket_dependencies.depends_on_id', 'parent.state', 'parent.title'])
    .where('ticket_dependencies.ticket_id', 'in', [...ticketIds]).execute()
}

export async function attemptsOf(db: Db, ticketId: string): Promise<AttemptRow[]> {
  return db.selectFrom('attempts').selectAll().where('ticket_id', '=', ticketId).orderBy('number').execute()
}

export async function ticketsOfAttempts(db: Db, attemptIds: readonly string[]): Promise<{ id: string }[]> {
  if (attemptIds.length === 0) return []
  return db.selectFrom('tickets').select('id').where('id', 'in', db.selectFrom('attempts').select('ticket_id').where('id', 'in', [...attemptIds])).orderBy('id').execute()
}

export async function attemptInState(db: Db, ticketId: string, state: string): Promise<AttemptRow | undefined> {
  return db.selectFrom('attempts').selectAll().where('ticket_id', '=', ticketId).where('state', '=', state).orderBy('number', 'desc').executeTakeFirst()
}

export async function expiredAttempts(db: Db, now: number, limit: number): Promise<{ id: string }[]> {
  return db.selectFrom('attempts').select('id').where('state', '=', 'running')
    .where((eb) => eb.or([eb('lease_expires_at', '<', now), eb('deadline_at', '<', now)])).orderBy('ticket_id').limit(limit).execute()
}

export async function runningOn(db: Db, runnerId: string): Promise<{ id: string }[]> {
  return db.selectFrom('attempts').select('id').where('runner_id', '=', runnerId).where('state', '=', 'running').orderBy('ticket_id').execute()
}

/** When the next lease or deadline of a running attempt ends. */
export async function earliestLeaseEnd(db: Db): Promise<number | null> {
  const row = await db.selectFrom('attempts').select((eb) => [eb.fn.min('lease_expires_at').as('lease'), eb.fn.min('deadline_at').as('deadline')]).where('state', '=', 'running').executeTakeFirst()
  const times = [row?.lease, row?.deadline].flatMap((at) => at == null ? [] : [Number(at)])
  return times.length === 0 ? null : Math.min(...times)
}

/** Repositories with tickets that agents work on or will, and the agents of these; `most` pairs, those that were changed last first. */
export async function openWork(db: Db, most: number): Promise<{ repositoryId: string; agent: string }[]> {
  const rows = await db.selectFrom('tickets').select(['repository_id', 'agent_name']).select((each) => each.fn.max('updated_at').as('changed'))
    .where('state', 'in', [...CLAIMABLE, ...ACTIVE]).groupBy(['repository_id', 'agent_name']).orderBy('changed', 'desc').limit(most).execute()
  return rows.map((row) => ({ repositoryId: row.repository_id, agent: row.agent_name }))
}
