import * as endpoints from '@swarm/contract/endpoints/projects.ts'
import type { Context } from '../../context.ts'
import { register } from '../../http/register.ts'
import { changeProject, createProject, projects, requireProject } from './service.ts'

export function registerProjects(context: Context): void {
  const { http, db, ids, clock } = context
  register(http, endpoints.listProjects, async ({ query }) => projects(db.read, query.cursor, query.limit))
  register(http, endpoints.createProject, async ({ body, correlationId }) => db.write((trx) => createProject(trx, { ...body, id: ids('project'), now: clock(), correlationId })))
  register(http, endpoints.showProject, async ({ params }) => requireProject(db.read, params.projectId))
  register(http, endpoints.updateProject, async ({ params, body, correlationId }) => db.write((trx) => changeProject(trx, params.projectId, body, correlationId)))
}
