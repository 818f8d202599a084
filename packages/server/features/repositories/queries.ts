import type { Selectable } from 'kysely'
import type { Read } from '../../db/database.ts'
import { inProjects } from '../../db/projects.ts'
import type { RepositoriesTable } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'

export type RepositoryRow = Selectable<RepositoriesTable>
/** With the slugs that its folder and address are made of. */
export type LocatedRepository = RepositoryRow & { project_slug: string }

const located = (db: Read) => db.selectFrom('repositories').innerJoin('projects', 'projects.id', 'repositories.project_id')
  .selectAll('repositories').select('projects.slug as project_slug')

export async function repositoryById(db: Read, id: string): Promise<LocatedRepository | undefined> {
  return await located(db).where('repositories.id', '=', id).executeTakeFirst()
}
export async function repositoryBySlugs(db: Read, projectSlug: string, slug: string): Promise<LocatedRepository | undefined> {
  return await located(db).where('projects.slug', '=', projectSlug).where('repositories.slug', '=', slug).executeTakeFirst()
}
export async function repositoryOfProject(db: Read, projectId: string, slug: string): Promise<LocatedRepository | undefined> {
  return await located(db).where('repositories.project_id', '=', projectId).where('repositories.slug', '=', slug).executeTakeFirst()
}
/** A project by id or slug. */
export async function projectNamed(db: Read, idOrSlug: string): Promise<{ id: string; slug: string } | undefined> {
  return await db.selectFrom('projects').select(['id', 'slug']).where((where) => where.or([where('id', '=', idOrSlug), where('slug', '=', idOrSlug)])).executeTakeFirst()
}
export async function listRepositoryRows(db: Read, filter: { projects: 'all' | readonly string[]; after?: string | undefined; limit: number }): Promise<RepositoryRow[]> {
  let query = db.selectFrom('repositories').selectAll().orderBy('id').limit(filter.limit)
  query = inProjects(query, 'project_id', filter.projects)
  if (filter.after !== undefined) query = query.where('id', '>', filter.after)
  return await query.execute()
}
export async function insertRepository(trx: Trx, row: RepositoryRow): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await trx.insertInto('repositories').values(row).onConflict((conflict) => conflict.columns(['project_id', 'slug']).doNothing()).executeTakeFirstOrThrow()
  return numInsertedOrUpdatedRows === 1n
}
