import { createView, listViews, removeView, showView, updateView, type View, ViewSettings } from '@swarm/contract/endpoints/views.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { FastifyRequest } from 'fastify'
import type { Context } from '../../context.ts'
import { fromJson, json } from '../../db/json.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { requireAlso } from '../../http/authorize.ts'
import { requireMatch, withEtag } from '../../http/etag.ts'
import { byCreation, page, readPosition } from '../../http/pages.ts'
import { register } from '../../http/register.ts'
import { deleteView, insertView, lockedView, patchView, viewById, viewNamed, viewPage, type ViewRow } from './queries.ts'

/** Boards as people want to see them: each person's own, and those that are shared in a project. */
export function registerViews({ http, db, ids, clock }: Pick<Context, 'http' | 'db' | 'ids' | 'clock'>): void {
  const { authorization } = http

  register(http, listViews, async ({ query, projects, principal }) => {
    const visible = await projects()
    const projectId = query.projectId === undefined || visible === 'all' ? query.projectId : visible[0]
    return page(await viewPage(db.read, { ownerId: principal.id, projects: visible, projectId }, readPosition(query.cursor), query.limit + 1), query.limit, (row) => present(row, principal.id), byCreation)
  })

  register(http, createView, async ({ body, principal, request, reply, correlationId }) => {
    const project = body.projectId === undefined ? null : await authorization.resolve('project:read', 'project', body.projectId)
    if (project) await requireAlso(authorization, request, body.shared ? 'view:share' : 'project:read', project)
    const by = `${principal.kind} ${principal.id}`
    const row: ViewRow = {
      id: ids('view'), owner_id: principal.id, project_id: project?.id ?? null, name: body.name, shared: body.shared ? 1 : 0, settings: json(body.settings), changed_by: by, created_at: clock(), updated_at: clock(),
    }
    await db.write(async (trx) => {
      if (!await insertView(trx, row)) throw new DomainError('name_taken', { kind: 'view', name: body.name })
      await changed(trx, row, by, correlationId)
    })
    return withEtag(reply, present(row, principal.id))
  })

  register(http, showView, async ({ params, principal, request, reply }) => {
    const row = await viewById(db.read, params.viewId)
    await requireSeen(request, row, params.viewId)
    return withEtag(reply, present(row!, principal.id))
  })

  register(http, updateView, async ({ params, body, principal, request, reply, correlationId }) => {
    await requireChangeable(request, params.viewId, body.shared === true)
    const by = `${principal.kind} ${principal.id}`
    const row = await db.write(async (trx) => {
      const before = await unchangedSince(trx, request, params.viewId)
      if (body.shared === true && before.project_id === null) throw new DomainError('invalid_input', { field: 'body.shared', problem: 'a view is shared with a project, and this one is of none' })
      if (body.name !== undefined && body.name !== before.name && await viewNamed(trx, before.owner_id, body.name)) throw new DomainError('name_taken', { kind: 'view', name: body.name })
      const patch = {
        ...(body.name === undefined ? {} : { name: body.name }), ...(body.shared === undefined ? {} : { shared: body.shared ? 1 : 0 }), ...(body.settings === undefined ? {} : { settings: json(body.settings) }),
        changed_by: by, updated_at: clock(),
      }
      await patchView(trx, before.id, patch)
      const after = { ...before, ...patch }
      await changed(trx, after, by, correlationId)
      return after
    })
    return withEtag(reply, present(row, principal.id))
  })

  register(http, removeView, async ({ params, principal, request, correlationId }) => {
    await requireChangeable(request, params.viewId, false)
    await db.write(async (trx) => {
      const row = await unchangedSince(trx, request, params.viewId)
      await deleteView(trx, row.id)
      await changed(trx, row, `${principal.kind} ${principal.id}`, correlationId, true)
    })
    return undefined
  })

  /** One's own, or one that is shared in a project that one may see. @throws DomainError not_found */
  async function requireSeen(request: FastifyRequest, row: ViewRow | undefined, id: string): Promise<void> {
    const { principal } = request
    const seen = row !== undefined && (row.owner_id === principal.id || (row.shared === 1 && row.project_id !== null && await authorization.sees(principal, row.project_id)))
    if (!seen) throw new DomainError('not_found', { kind: 'view', id })
  }

  /** What is shared, or is to be, is changed by those who work in its project, its owner among them; everything else by its owner. */
  async function requireChangeable(request: FastifyRequest, id: string, share: boolean): Promise<void> {
    const row = await viewById(db.read, id)
    await requireSeen(request, row, id)
    if (row?.project_id != null && (share || row.shared === 1)) await requireAlso(authorization, request, 'view:share', await authorization.resolve('view:share', 'project', row.project_id))
  }

  /** The row, locked, as the caller was shown it; not one that stopped being shared after the caller was asked for. */
  async function unchangedSince(trx: Trx, request: FastifyRequest, id: string): Promise<ViewRow> {
    const row = await lockedView(trx, id)
    if (!row || (row.shared === 0 && row.owner_id !== request.principal.id)) throw new DomainError('not_found', { kind: 'view', id })
    requireMatch(request, { kind: 'view', id }, present(row, request.principal.id))
    return row
  }
}

async function changed(trx: Trx, row: ViewRow, by: string, correlationId: string, removed = false): Promise<void> {
  await appendEvents(trx, [{ type: 'view:changed', projectId: row.project_id, subject: { kind: 'view', id: row.id }, correlationId, data: { name: row.name, shared: row.shared === 1, removed, by } }])
}

function present(row: ViewRow, principalId: string): View {
  return {
    id: row.id, name: row.name, projectId: row.project_id, shared: row.shared === 1, ownerId: row.owner_id, mine: row.owner_id === principalId, settings: fromJson(ViewSettings, row.settings),
    changedBy: row.changed_by, createdAt: row.created_at, updatedAt: row.updated_at,
  }
}
