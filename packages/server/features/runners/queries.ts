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

export async function runners(db: Db): Promise<Selectable<RunnersTable>[]> {
  return db.selectFrom('runners').selectAll().orderBy('name').limit(1000).execute()
}

export async function insertRunner(db: Db, row: Selectable<RunnersTable>): Promise<void> {
  await db.insertInto('runners').values(row).execute()
}

export async function touchRunner(db: Db, id: string, patch: Updateable<RunnersTable>): Promise<void> {
  await db.updateTable('runners').set(patch).where('id', '=', id).execute()
}

export async function vmById(db: Db, id: string): Promise<Selectable<VmsTable> | undefined> {
  return db.selectFrom('vms').selectAll().where('id', '=', id).executeTakeFirst()
}

export async function putVm(db: Db, row: Selectable<VmsTable>): Promise<void> {
  const { id: _, ...rest } = row
  await db.insertInto('vms').values(row).onConflict((oc) => oc.column('id').doUpdateSet(rest)).execute()
}

export async function vms(db: Db, filter: { state?: string | undefined; projectId?: string | undefined }, limit: number): Promise<Selectable<VmsTable>[]> {
  let query = db.selectFrom('vms').selectAll().orderBy('started_at', 'desc').orderBy('id').limit(limit)
  if (filter.state !== undefined) query = query.where('state', '=', filter.state)
  if (filter.projectId !== undefined) query = query.where('project_id', '=', filter.projectId)
  return query.execute()
}

export async function liveVmsOf(db: Db, runnerId: string): Promise<Selectable<VmsTable>[]> {
  return db.selectFrom('vms').selectAll().where('runner_id', '=', runnerId).where('state', '!=', 'ended').execute()
}
