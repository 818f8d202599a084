import * as endpoints from '@swarm/contract/endpoints/projects.ts'
import { DEFAULT_ORGANIZATION_ID } from '@swarm/core/policy/actions.ts'
import type { Context } from '../../context.ts'
import type { Trx } from '../../db/unit.ts'
import { requireMatch, withEtag } from '../../http/etag.ts'
import { register } from '../../http/register.ts'
import { members, removeMember, setMember } from './members.ts'
import { changeProject, createProject, projects, requireProject } from './service.ts'

/** @param changing wraps a change of settings, which may be one of the project's ceilings. */
export function registerProjects(context: Context, changing: <T>(trx: Trx, about: { projectId: string; by: string; correlationId: string }, change: () => Promise<T>) => Promise<T>): void {
  const { http, db, ids, clock } = context
  register(http, endpoints.listProjects, async ({ query, projects: visible }) => projects(db.read, await visible(), query.cursor, query.limit))
  register(http, endpoints.createProject, async ({ body, request: { resource }, correlationId }) => db.write((trx) => createProject(trx, { ...body, organizationId: resource?.id ?? DEFAULT_ORGANIZATION_ID, id: ids('project'), now: clock(), correlationId })))
  register(http, endpoints.showProject, async ({ params, reply }) => withEtag(reply, await requireProject(db.read, params.projectId)))
  register(http, endpoints.listProjectMembers, async ({ query, request: { resource } }) => members(db.read, resource?.projectId ?? '', query.cursor, query.limit))
  register(http, endpoints.setProjectMember, async ({ params, body, principal, request: { resource }, correlationId }) => db.write((trx) =>
    setMember(trx, { projectId: resource?.projectId ?? '', userId: params.userId, role: body.role, by: `${principal.kind} ${principal.id}`, now: clock(), correlationId })))
  register(http, endpoints.removeProjectMember, async ({ params, principal, request: { resource }, correlationId }) => {
    await db.write((trx) => removeMember(trx, { projectId: resource?.projectId ?? '', userId: params.userId, by: `${principal.kind} ${principal.id}`, correlationId }))
    return undefined
  })
  register(http, endpoints.updateProject, async ({ params, body, principal, request, reply, correlationId }) => withEtag(reply, await db.write(async (trx) => {
    const now = await requireProject(trx, params.projectId)
    const { id } = now
    requireMatch(request, { kind: 'project', id }, now)
    return changing(trx, { projectId: id, by: `${principal.kind} ${principal.id}`, correlationId }, () => changeProject(trx, id, body, correlationId))
  })))
}
