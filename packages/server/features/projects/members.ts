import type { ProjectMember } from '@swarm/contract/endpoints/projects.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { ProjectRole } from '@swarm/core/policy/actions.ts'
import type { Kysely } from 'kysely'
import { rightsChanged } from '../../authorization/rights.ts'
import type { Schema } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { deleteMember, memberPage, type MemberRow, putMember, userInOrganizationOf } from './queries.ts'

const present = (row: MemberRow): ProjectMember => ({ userId: row.user_id, name: row.name, email: row.email, role: row.role as ProjectRole, addedBy: row.added_by, createdAt: row.created_at })

export async function members(db: Kysely<Schema>, projectId: string, cursor: string | undefined, limit: number): Promise<{ items: ProjectMember[]; nextCursor: string | null }> {
  const rows = await memberPage(db, projectId, cursor ?? '', limit + 1)
  const items = rows.slice(0, limit).map(present)
  return { items, nextCursor: rows.length > limit ? items.at(-1)?.userId ?? null : null }
}

/** @throws DomainError not_found for somebody who is no member of the project's organisation */
export async function setMember(trx: Trx, input: { projectId: string; userId: string; role: ProjectRole; by: string; now: number; correlationId: string }): Promise<ProjectMember> {
  const user = await userInOrganizationOf(trx, input.projectId, input.userId)
  if (!user) throw new DomainError('not_found', { kind: 'member', id: input.userId })
  await putMember(trx, { project_id: input.projectId, user_id: input.userId, role: input.role, added_by: input.by, created_at: input.now })
  await changed(trx, { ...input, role: input.role })
  const [row] = await memberPage(trx, input.projectId, '', 1, input.userId)
  return present(row!)
}

export async function removeMember(trx: Trx, input: { projectId: string; userId: string; by: string; correlationId: string }): Promise<void> {
  if (!await deleteMember(trx, input.projectId, input.userId)) throw new DomainError('not_found', { kind: 'member', id: input.userId })
  await changed(trx, { ...input, role: null })
}

async function changed(trx: Trx, { projectId, userId, role, by, correlationId }: { projectId: string; userId: string; role: ProjectRole | null; by: string; correlationId: string }): Promise<void> {
  await appendEvents(trx, [{ type: 'project:member', projectId, subject: { kind: 'project', id: projectId }, correlationId, data: { userId, role, by } }])
  await rightsChanged(trx, { projectId, userId })
}
