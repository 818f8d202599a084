import type { Insertable, Kysely, Selectable, Updateable } from 'kysely'
import { sql } from 'kysely'
import { DAY_MS } from '../../db/days.ts'
import { forUpdate } from '../../db/dialect.ts'
import type { RunnersTable, Schema, VmsTable } from '../../db/schema.ts'

type Db = Kysely<Schema>

export async function runnerById(db: Db, id: string): Promise<Selectable<RunnersTable> | undefined> {
  return db.selectFrom('runners').selectAll().where('id', '=', id).executeTakeFirst()
}

/** The same, with its row locked on PostgreSQL: what is decided by its boot id is decided once. */
export async function lockedRunner(db: Db, id: string): Promise<Selectable<RunnersTable> | undefined> {
  return forUpdate(db, db.selectFrom('runners').selectAll().where('id', '=', id)).executeTakeFirst()
}

export async function runnerByName(db: Db, name: string): Promise<Selectable<RunnersTable> | undefined> {
  return db.selectFrom('runners').selectAll().where('name', '=', name).executeTakeFirst()
}

/** By name, after the one given. */
export async function runners(db: Db, afterName: string, limit: number): Promise<Selectable<RunnersTable>[]> {
  return db.selectFrom('runners').selectAll().where('name', '>', afterName).where('removed_at', 'is', null).orderBy('name').limit(limit).execute()
}

export async function allRunners(db: Db): Promise<Selectable<RunnersTable>[]> {
  return db.selectFrom('runners').selectAll().where('removed_at', 'is', null).orderBy('driver').orderBy('name').execute()
}

export async function insertRunner(db: Db, row: Insertable<RunnersTable>): Promise<void> {
  await db.insertInto('runners').values(row).execute()
}

export async function touchRunner(db: Db, id: string, patch: Updateable<RunnersTable>): Promise<void> {
  await db.updateTable('runners').set(patch).where('id', '=', id).execute()
}

/** Whether this process of the runner is a new one; from now on it is known. */
export async function firstSeenBoot(db: Db, runnerId: string, bootId: string, now: number): Promise<boolean> {
  const result = await db.insertInto('runner_boots').values({ runner_id: runnerId, boot_id: bootId, created_at: now }).onConflict((oc) => oc.columns(['runner_id', 'boot_id']).doNothing()).executeTakeFirst()
  return result.numInsertedOrUpdatedRows === 1n
}

/** MicroVMs recorded as alive whose runner was not heard from since then, the longest silent first. */
export async function vmsOfSilentRunners(db: Db, seenBefore: number, limit: number): Promise<Selectable<VmsTable>[]> {
  return db.selectFrom('vms').innerJoin('runners', 'runners.id', 'vms.runner_id').selectAll('vms').where('vms.state', '!=', 'ended')
    .where((eb) => eb.or([eb('runners.seen_at', 'is', null), eb('runners.seen_at', '<', seenBefore)])).orderBy('runners.seen_at').orderBy('vms.id').limit(limit).execute()
}

/** When the longest silent runner with microVMs was last heard from; null when none has any. */
export async function earliestSeenWithVms(db: Db): Promise<number | null> {
  const row = await db.selectFrom('vms').innerJoin('runners', 'runners.id', 'vms.runner_id').select((eb) => eb.fn.min('runners.seen_at').as('at')).where('vms.state', '!=', 'ended').executeTakeFirst()
  return row?.at == null ? null : Number(row.at)
}

export async function vmById(db: Db, id: string): Promise<Selectable<VmsTable> | undefined> {
  return db.selectFrom('vms').selectAll().where('id', '=', id).executeTakeFirst()
}

export async function putVm(db: Db, row: Selectable<VmsTable>): Promise<void> {
  const { id: _, ...rest } = row
  await db.insertInto('vms').values(row).onConflict((oc) => oc.column('id').doUpdateSet(rest)).execute()
}

/** Whether that changed anything. */
export async function setPaused(db: Db, id: string, paused: boolean): Promise<boolean> {
  const result = await db.updateTable('vms').set({ paused: paused ? 1 : 0 }).where('id', '=', id).where('state', '=', 'running').where('paused', '=', paused ? 0 : 1).executeTakeFirst()
  return result.numUpdatedRows === 1n
}

export async function liveVmsOf(db: Db, runnerId: string): Promise<Selectable<VmsTable>[]> {
  return db.selectFrom('vms').selectAll().where('runner_id', '=', runnerId).where('state', '!=', 'ended').execute()
}

/** Starts of a runner's process, newest first. */
export async function bootsOf(db: Db, runnerId: string, limit: number): Promise<{ boot_id: string; created_at: number }[]> {
  return db.selectFrom('runner_boots').select(['boot_id', 'created_at']).where('runner_id', '=', runnerId).orderBy('created_at', 'desc').orderBy('boot_id').limit(limit).execute()
}

export interface HeldWork { kind: 'attempt' | 'check'; id: string; ticket_id: string | null; project_id: string; vm_id: string | null; since: number; lease_expires_at: number | null }

/** What a runner holds a lease on. */
export async function heldWork(db: Db, runnerId: string): Promise<HeldWork[]> {
  const attempts = await db.selectFrom('attempts').select(['id', 'ticket_id', 'project_id', 'vm_id', 'created_at as since', 'lease_expires_at']).where('runner_id', '=', runnerId).where('state', '=', 'running').orderBy('created_at').execute()
  const checks = await db.selectFrom('check_runs').select(['id', 'ticket_id', 'project_id', 'vm_id', 'created_at', 'started_at', 'lease_expires_at']).where('runner_id', '=', runnerId).where('state', '=', 'running').orderBy('created_at').execute()
  return [...attempts.map((row) => ({ kind: 'attempt' as const, ...row })), ...checks.map(({ created_at, started_at, ...row }) => ({ kind: 'check' as const, ...row, since: started_at ?? created_at }))]
}

/** How many microVMs of a runner ended since then, by day (UTC, counted from the epoch) and reason. */
export async function endedVms(db: Db, runnerId: string, since: number): Promise<{ day: number; reason: string | null; vms: number }[]> {
  const day = sql<number | string>`ended_at / ${sql.lit(DAY_MS)}`
  const rows = await db.selectFrom('vms').select([day.as('day'), 'end_reason as reason']).select((eb) => eb.fn.countAll<number | string>().as('vms'))
    .where('runner_id', '=', runnerId).where('ended_at', '>=', since).groupBy([day, 'end_reason']).orderBy('day').orderBy('end_reason').execute()
  return rows.map((row) => ({ day: Number(row.day), reason: row.reason, vms: Number(row.vms) }))
}
