import { sessionNext, type SessionAction, type SessionState } from '@swarm/core/design/session.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Updateable } from 'kysely'
import type { DesignSessionsTable } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { lockedSession, moveSessionRow, sessionById, type SessionRow } from './queries.ts'

/** @throws DomainError not_found */
export async function requireSession(db: Parameters<typeof sessionById>[0], id: string): Promise<SessionRow> {
  const session = await sessionById(db, id)
  if (!session) throw new DomainError('not_found', { kind: 'session', id })
  return session
}

/** The same, held against other writers until the unit ends: for decisions that must not lose against a step of Swarm's own. */
export async function lockSession(trx: Trx, id: string): Promise<SessionRow> {
  const session = await lockedSession(trx, id)
  if (!session) throw new DomainError('not_found', { kind: 'session', id })
  return session
}

/**
 * The only writer of a session's state: table, compare-and-set and event in one transaction.
 * @throws DomainError illegal_transition when the table does not have it, or another writer was faster
 */
export async function moveSession(trx: Trx, session: SessionRow, action: SessionAction, input: { patch?: Updateable<DesignSessionsTable>; reason?: string; now: number; correlationId: string }): Promise<SessionRow> {
  const from = session.state as SessionState
  const to = sessionNext(from, action)
  if (to === null) throw new DomainError('illegal_transition', { kind: 'session', id: session.id, from, to: action })
  const patch = { ...input.patch, state: to, updated_at: input.now }
  if (!await moveSessionRow(trx, session.id, from, patch)) throw new DomainError('illegal_transition', { kind: 'session', id: session.id, from, to })
  await appendEvents(trx, [{
    type: 'session:update', projectId: session.project_id, subject: { kind: 'session', id: session.id }, correlationId: input.correlationId,
    data: { sessionId: session.id, from, state: to, reason: input.reason ?? null },
  }])
  return { ...session, ...patch } as SessionRow
}
