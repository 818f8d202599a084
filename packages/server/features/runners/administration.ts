import { DomainError } from '@swarm/core/errors.ts'
import type { Selectable } from 'kysely'
import type { Read } from '../../db/database.ts'
import type { RunnersTable } from '../../db/schema.ts'
import { signal, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { revokeTokens } from '../../http/tokens.ts'
import { allRunners, heldWork, lockedRunner, runnerById, touchRunner } from './queries.ts'

type RunnerRow = Selectable<RunnersTable>

/** A runner is shown as online for this long after its last call, ms (the lease of its work). */
const ONLINE_MS = 30_000

export const isOnline = ({ seen_at }: Pick<RunnerRow, 'seen_at'>, now: number): boolean => seen_at !== null && now - seen_at < ONLINE_MS

/** @throws DomainError not_found, of one that was taken away too */
export async function shownRunner(db: Read, id: string): Promise<RunnerRow> {
  return present(await runnerById(db, id), id)
}

function present(row: RunnerRow | undefined, id: string): RunnerRow {
  if (!row || row.removed_at !== null) throw new DomainError('not_found', { kind: 'runner', id })
  return row
}

/** What runs microVMs, by driver, as hosts told. */
export async function driversSeen(db: Read, now: number): Promise<{ driver: string; isolates: boolean; runners: number; online: number; capacity: number }[]> {
  const told = (await allRunners(db)).filter(({ driver }) => driver !== null)
  return [...Map.groupBy(told, ({ driver, isolates }) => `${driver} ${isolates}`).values()].map((rows) => {
    const online = rows.filter((row) => isOnline(row, now))
    return { driver: rows[0]?.driver ?? '', isolates: rows[0]?.isolates === 1, runners: rows.length, online: online.length, capacity: online.reduce((total, { capacity }) => total + capacity, 0) }
  })
}

interface Asked { readonly id: string; readonly by: string; readonly now: number; readonly correlationId: string }

/** Gives a host no new work, or some again. What it holds it keeps. Asked for what is so already, it changes nothing. */
export async function setDraining(trx: Trx, { id, draining, by, now, correlationId }: Asked & { draining: { reason: string } | null }): Promise<RunnerRow> {
  const row = present(await lockedRunner(trx, id), id)
  if ((row.draining_at === null) === (draining === null)) return row
  const patch = draining === null ? { draining_at: null, draining_by: null, draining_reason: null } : { draining_at: now, draining_by: by, draining_reason: draining.reason }
  await touchRunner(trx, id, patch)
  await appendEvents(trx, [{ type: 'runner:draining', projectId: null, subject: { kind: 'runner', id }, correlationId, data: { name: row.name, draining: draining !== null, reason: draining?.reason ?? null, by } }])
  // Its claims may be waiting already.
  if (draining === null) signal(trx, 'work')
  return { ...row, ...patch }
}

/**
 * Takes a host away. Its row is locked, as a claim locks it: nothing is given to it meanwhile.
 * @throws DomainError runner_not_idle while it is online or holds work
 */
export async function takeAway(trx: Trx, { id, by, now, correlationId }: Asked): Promise<void> {
  const row = present(await lockedRunner(trx, id), id)
  const refuse = (problem: string): never => { throw new DomainError('runner_not_idle', { id, name: row.name, problem }) }
  if (isOnline(row, now)) refuse('is online')
  const held = await heldWork(trx, id)
  if (held.length > 0) refuse(`holds ${held.map((work) => work.id).slice(0, 5).join(', ')}${held.length > 5 ? ` and ${held.length - 5} more` : ''}`)
  await touchRunner(trx, id, { removed_at: now, draining_at: null, draining_by: null, draining_reason: null })
  await revokeTokens(trx, { kind: 'runner', subjectId: id })
  await appendEvents(trx, [{ type: 'runner:removed', projectId: null, subject: { kind: 'runner', id }, correlationId, data: { name: row.name, by } }])
}
