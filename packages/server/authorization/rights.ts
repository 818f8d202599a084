import type { ProjectRole, Role } from '@swarm/core/policy/actions.ts'
import type { Kysely } from 'kysely'
import type { Schema } from '../db/schema.ts'
import type { Trx } from '../db/unit.ts'
import { appendEvents } from '../events/events.ts'
import type { Principal } from '../http/tokens.ts'
import type { PolicySet, Rights, Subject } from './engine.ts'

type Db = Kysely<Schema>

/** Event of a change of what somebody may do. */
export const RIGHTS_CHANGED = 'rights:changed'

const NOTHING: Rights = { superAdmin: false, organizations: new Map(), projects: new Map() }
const EVERYTHING: Rights = { superAdmin: true, organizations: new Map(), projects: new Map() }

/** What a user is allowed by now; nothing for one that is not there or was locked. */
export async function rightsOf(db: Db, userId: string): Promise<Rights> {
  const user = await db.selectFrom('users').select(['super_admin', 'disabled_at']).where('id', '=', userId).executeTakeFirst()
  if (!user || user.disabled_at !== null) return NOTHING
  const organizations = await db.selectFrom('members').select(['organization_id', 'role']).where('user_id', '=', userId).execute()
  const projects = await db.selectFrom('project_members').select(['project_id', 'role']).where('user_id', '=', userId).execute()
  return {
    superAdmin: user.super_admin === 1,
    organizations: new Map(organizations.map((row) => [row.organization_id, row.role as Role])),
    projects: new Map(projects.map((row) => [row.project_id, row.role as ProjectRole])),
  }
}

/** Whether somebody of this kind is a person, whose actions policies decide; runners, attempts and checks are bound to their own protocol instead. */
export function isPerson(principal: Principal): boolean {
  return principal.kind === 'admin' || principal.kind === 'user'
}

/** A person as policies see them. The token of the installation's first administrator stands for a super administrator. */
export async function subjectOf(db: Db, principal: Principal): Promise<Subject> {
  if (principal.kind === 'admin') return { kind: 'user', id: 'admin', rights: EVERYTHING }
  if (principal.kind !== 'user') throw new TypeError(`a ${principal.kind} is no person`)
  const rights = await rightsOf(db, principal.id)
  return principal.scopes === undefined ? { kind: 'user', id: principal.id, rights } : { kind: 'key', id: principal.tokenId ?? '', userId: principal.id, scopes: principal.scopes, rights }
}

/** The policies of an organisation that are in force; none of its own for the installation. */
export async function policiesOf(db: Db, organizationId: string | null): Promise<PolicySet> {
  if (organizationId === null) return { own: [], disabled: [] }
  const rows = await db.selectFrom('policies').select(['id', 'cedar', 'enabled']).where('organization_id', '=', organizationId).orderBy('id').execute()
  return {
    own: rows.flatMap(({ id, cedar, enabled }) => cedar === null || enabled !== 1 ? [] : [{ id, cedar }]),
    disabled: rows.flatMap(({ id, cedar, enabled }) => cedar === null && enabled !== 1 ? [id] : []),
  }
}

/** Says, in the transaction that changes what somebody may do, that it has: live connections ask for their rooms again. */
export async function rightsChanged(trx: Trx, about: { readonly organizationId?: string | undefined; readonly projectId?: string | null | undefined; readonly userId?: string | undefined }): Promise<void> {
  await appendEvents(trx, [{
    type: RIGHTS_CHANGED, projectId: about.projectId ?? null, subject: about.userId === undefined ? { kind: 'organization', id: about.organizationId ?? '' } : { kind: 'user', id: about.userId },
    data: { organizationId: about.organizationId ?? null },
  }])
}
