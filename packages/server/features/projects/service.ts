import { ProjectSettings } from '@swarm/contract/endpoints/projects.ts'
import type { Project, ProjectSettingsPatch } from '@swarm/contract/endpoints/projects.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Kysely, Selectable } from 'kysely'
import { rightsChanged } from '../../authorization/rights.ts'
import type { ProjectsTable, Schema } from '../../db/schema.ts'
import { fromJson, json } from '../../db/json.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { insertProject, projectByIdOrSlug, projectPage, updateProject } from './queries.ts'

export function presentProject(row: Selectable<ProjectsTable>): Project {
  return { id: row.id, organizationId: row.organization_id, slug: row.slug, name: row.name, settings: fromJson(ProjectSettings, row.settings), createdAt: row.created_at }
}

export async function requireProject(db: Kysely<Schema>, idOrSlug: string): Promise<Project> {
  const row = await projectByIdOrSlug(db, idOrSlug)
  if (!row) throw new DomainError('not_found', { kind: 'project', id: idOrSlug })
  return presentProject(row)
}

export async function createProject(trx: Trx, input: { id: string; organizationId: string; slug: string; name?: string | undefined; settings?: ProjectSettingsPatch | undefined; now: number; correlationId: string }): Promise<Project> {
  if (await projectByIdOrSlug(trx, input.slug)) throw new DomainError('name_taken', { kind: 'project', name: input.slug })
  const row = { id: input.id, organization_id: input.organizationId, slug: input.slug, name: input.name ?? input.slug, settings: json(ProjectSettings.parse(input.settings ?? {})), created_at: input.now }
  await insertProject(trx, row)
  await appendEvents(trx, [{ type: 'project:created', projectId: row.id, subject: { kind: 'project', id: row.id }, correlationId: input.correlationId, data: { slug: row.slug, settings: fromJson(ProjectSettings, row.settings) } }])
  return presentProject(row)
}

export async function changeProject(trx: Trx, idOrSlug: string, patch: { name?: string | undefined; settings?: ProjectSettingsPatch | undefined }, correlationId: string): Promise<Project> {
  const project = await requireProject(trx, idOrSlug)
  const settings = ProjectSettings.parse({ ...project.settings, ...patch.settings, review: { ...project.settings.review, ...patch.settings?.review } })
  await updateProject(trx, project.id, { name: patch.name ?? project.name, settings: json(settings) })
  await appendEvents(trx, [{ type: 'project:changed', projectId: project.id, subject: { kind: 'project', id: project.id }, correlationId, data: { name: patch.name ?? project.name, from: project.settings, settings } }])
  if (settings.visibility !== project.settings.visibility) await rightsChanged(trx, { projectId: project.id, organizationId: project.organizationId })
  return { ...project, name: patch.name ?? project.name, settings }
}

export async function projects(db: Kysely<Schema>, visible: 'all' | readonly string[], cursor: string | undefined, limit: number): Promise<{ items: Project[]; nextCursor: string | null }> {
  const rows = await projectPage(db, visible, cursor ?? '', limit + 1)
  const items = rows.slice(0, limit).map(presentProject)
  return { items, nextCursor: rows.length > limit ? items.at(-1)!.slug : null }
}
