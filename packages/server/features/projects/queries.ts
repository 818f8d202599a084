import type { Insertable, Kysely, Selectable, Updateable } from 'kysely'
import type { ProjectsTable, Schema } from '../../db/schema.ts'

export async function projectByIdOrSlug(db: Kysely<Schema>, idOrSlug: string): Promise<Selectable<ProjectsTable> | undefined> {
  return db.selectFrom('projects').selectAll().where((eb) => eb.or([eb('id', '=', idOrSlug), eb('slug', '=', idOrSlug)])).executeTakeFirst()
}

export async function insertProject(db: Kysely<Schema>, row: Insertable<ProjectsTable> & { organization_id: string }): Promise<void> {
  await db.insertInto('projects').values(row).execute()
}

export async function updateProject(db: Kysely<Schema>, id: string, patch: Updateable<ProjectsTable>): Promise<void> {
  await db.updateTable('projects').set(patch).where('id', '=', id).execute()
}

/** By slug, after the one given. */
export async function projectPage(db: Kysely<Schema>, afterSlug: string, limit: number): Promise<Selectable<ProjectsTable>[]> {
  return db.selectFrom('projects').selectAll().where('slug', '>', afterSlug).orderBy('slug').limit(limit).execute()
}
