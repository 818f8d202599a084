import type { Kysely, Selectable, Updateable } from 'kysely'
import type { VisibleProjects } from '../../authorization/authorization.ts'
import { forUpdate } from '../../db/dialect.ts'
import type { Schema, ViewsTable } from '../../db/schema.ts'
import type { Position } from '../../http/pages.ts'

type Db = Kysely<Schema>
export type ViewRow = Selectable<ViewsTable>

/** Somebody's own views and those shared in these projects, in order of creation. @param projectId only views of this project */
export async function viewPage(db: Db, about: { ownerId: string; projects: VisibleProjects; projectId?: string | undefined }, after: Position | null, limit: number): Promise<ViewRow[]> {
  const { projects, projectId } = about
  let query = db.selectFrom('views').selectAll().orderBy('created_at').orderBy('id').limit(limit).where((eb) => eb.or([
    eb('owner_id', '=', about.ownerId),
    eb.and([eb('shared', '=', 1), ...(projects === 'all' ? [] : [projects.length === 0 ? eb('project_id', 'is', null) : eb('project_id', 'in', [...projects])])]),
  ]))
  if (projectId !== undefined) query = query.where('project_id', '=', projectId)
  if (after) query = query.where((eb) => eb.or([eb('created_at', '>', after.at), eb.and([eb('created_at', '=', after.at), eb('id', '>', after.id)])]))
  return query.execute()
}

export async function viewById(db: Db, id: string): Promise<ViewRow | undefined> {
  return db.selectFrom('views').selectAll().where('id', '=', id).executeTakeFirst()
}

/** The same, with its row locked on PostgreSQL: what is changed is what was looked at. */
export async function lockedView(db: Db, id: string): Promise<ViewRow | undefined> {
  return forUpdate(db, db.selectFrom('views').selectAll().where('id', '=', id)).executeTakeFirst()
}

export async function viewNamed(db: Db, ownerId: string, name: string): Promise<ViewRow | undefined> {
  return db.selectFrom('views').selectAll().where('owner_id', '=', ownerId).where('name', '=', name).executeTakeFirst()
}

/** False when its owner has one of this name. */
export async function insertView(db: Db, row: ViewRow): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await db.insertInto('views').values(row).onConflict((conflict) => conflict.columns(['owner_id', 'name']).doNothing()).executeTakeFirstOrThrow()
  return numInsertedOrUpdatedRows === 1n
}

export async function patchView(db: Db, id: string, patch: Updateable<ViewsTable>): Promise<void> {
  await db.updateTable('views').set(patch).where('id', '=', id).execute()
}

export async function deleteView(db: Db, id: string): Promise<void> {
  await db.deleteFrom('views').where('id', '=', id).execute()
}
