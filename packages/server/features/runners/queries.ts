import type { Kysely, Selectable, Updateable } from 'kysely'
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
  return db.selectFrom('runners').selectAll().where('name', '>', afterName).orderBy('name').limit(limit).execute()
}

export async function insertRunner(db: Db, row: Selectable<RunnersTable>): Promise<void> {
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
