import type { Kysely, Selectable, Updateable } from 'kysely'
import { inProjects } from '../../db/projects.ts'
import type { ProjectMembersTable, ProjectsTable, Schema } from '../../db/schema.ts'

export async function projectByIdOrSlug(db: Kysely<Schema>, idOrSlug: string): Promise<Selectable<ProjectsTable> | undefined> {
  return db.selectFrom('projects').selectAll().where((eb) => eb.or([eb('id', '=', idOrSlug), eb('slug', '=', idOrSlug)])).executeTakeFirst()
}

export async function insertProject(db: Kysely<Schema>, row: Selectable<ProjectsTable>): Promise<void> {
  await db.insertInto('projects').values(row).execute()
}

export async function updateProject(db: Kysely<Schema>, id: string, patch: Updateable<ProjectsTable>): Promise<void> {
  await db.updateTable('projects').set(patch).where('id', '=', id).execute()
}

/** By slug, after the one given. */
export async function projectPage(db: Kysely<Schema>, projects: 'all' | readonly string[], afterSlug: string, limit: number): Promise<Selectable<ProjectsTable>[]> {
  return inProjects(db.selectFrom('projects').selectAll(), 'id', projects).where('slug', '>', afterSlug).orderBy('slug').limit(limit).execute()
}

export type MemberRow = Selectable<ProjectMembersTable> & { name: string; email: string }

/** By user, after the one given; only one user, where one is named. */
export async function memberPage(db: Kysely<Schema>, projectId: string, afterUser: string, limit: number, userId?: string): Promise<MemberRow[]> {
  let query = db.selectFrom('project_members').innerJoin('users', 'users.id', 'project_members.user_id').selectAll('project_members').select(['users.name', 'users.email'])
    .where('project_id', '=', projectId).where('user_id', '>', afterUser).orderBy('user_id').limit(limit)
  if (userId !== undefined) query = query.where('user_id', '=', userId)
  return query.execute()
}

export async function userInOrganizationOf(db: Kysely<Schema>, projectId: string, userId: string): Promise<{ id: string } | undefined> {
  return db.selectFrom('members').innerJoin('projects', 'projects.organization_id', 'members.organization_id').where('projects.id', '=', projectId).where('members.user_id', '=', userId).select('members.user_id as id').executeTakeFirst()
}

export async function putMember(db: Kysely<Schema>, row: Selectable<ProjectMembersTable>): Promise<void> {
  await db.insertInto('project_members').values(row).onConflict((conflict) => conflict.columns(['project_id', 'user_id']).doUpdateSet({ role: row.role, added_by: row.added_by })).execute()
}

export async function deleteMember(db: Kysely<Schema>, projectId: string, userId: string): Promise<boolean> {
  const { numDeletedRows } = await db.deleteFrom('project_members').where('project_id', '=', projectId).where('user_id', '=', userId).executeTakeFirstOrThrow()
  return numDeletedRows === 1n
}
