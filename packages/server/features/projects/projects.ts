import * as endpoints from '@swarm/contract/endpoints/projects.ts'
import type { Context } from '../../context.ts'
import type { Trx } from '../../db/unit.ts'
import { register } from '../../http/register.ts'
import { changeProject, createProject, projects, requireProject } from './service.ts'

/** @param changing wraps a change of settings, which may be one of the project's ceilings; `organizationId` finds one by id or slug, or throws `not_found`. */
export function registerProjects(context: Context, changing: <T>(trx: Trx, about: { projectId: string; by: string; correlationId: string }, change: () => Promise<T>) => Promise<T>, organizationId: (trx: Trx, idOrSlug: string) => Promise<string>): void {
  const { http, db, ids, clock } = context
  register(http, endpoints.listProjects, async ({ query }) => projects(db.read, query.cursor, query.limit))
  register(http, endpoints.createProject, async ({ body, correlationId }) => db.write(async (trx) => createProject(trx, {
    ...body, organizationId: body.organizationId && await organizationId(trx, body.organizationId), id: ids('project'), now: clock(), correlationId,
  })))
  register(http, endpoints.showProject, async ({ params }) => requireProject(db.read, params.projectId))
  register(http, endpoints.updateProject, async ({ params, body, principal, correlationId }) => db.write(async (trx) => {
    const { id } = await requireProject(trx, params.projectId)
    return changing(trx, { projectId: id, by: `${principal.kind} ${principal.id}`, correlationId }, () => changeProject(trx, id, body, correlationId))
  }))
}
