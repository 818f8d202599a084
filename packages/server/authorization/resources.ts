import { ProjectSettings } from '@swarm/contract/endpoints/projects.ts'
import type { ResourceKind } from '@swarm/core/policy/actions.ts'
import type { Kysely } from 'kysely'
import { fromJson } from '../db/json.ts'
import type { Schema } from '../db/schema.ts'

/** What something is done to, as policies see it. */
export interface Resource {
  readonly kind: ResourceKind
  readonly id: string
  /** Null for what belongs to the whole installation. */
  readonly organizationId: string | null
  readonly projectId: string | null
  /** The project is for its own members alone. */
  readonly membersOnly?: boolean
  /** Of approvals: their kind. */
  readonly about?: string
  readonly name?: string
}

type Db = Kysely<Schema>
/** Its resource by an id out of a request, or null when there is none. */
type Resolver = (db: Db, id: string) => Promise<Resource | null>

export const INSTALLATION: Resource = { kind: 'installation', id: 'installation', organizationId: null, projectId: null }
export const accountOf = (userId: string): Resource => ({ kind: 'account', id: userId, organizationId: null, projectId: null })

const project: Resolver = async (db, idOrSlug) => {
  const row = await db.selectFrom('projects').select(['id', 'organization_id', 'settings', 'slug']).where((eb) => eb.or([eb('id', '=', idOrSlug), eb('slug', '=', idOrSlug)])).executeTakeFirst()
  return row ? { kind: 'project', id: row.id, organizationId: row.organization_id, projectId: row.id, membersOnly: fromJson(ProjectSettings, row.settings).visibility === 'members', name: row.slug } : null
}

/** Something in a project, found by its id. */
const inProject = (kind: ResourceKind, find: (db: Db, id: string) => Promise<{ project_id: string; about?: string; name?: string } | undefined>): Resolver => async (db, id) => {
  const row = await find(db, id)
  const parent = row && await project(db, row.project_id)
  return row && parent ? { ...parent, kind, id, ...(row.about === undefined ? {} : { about: row.about }), ...(row.name === undefined ? {} : { name: row.name }) } : null
}

const ticketOf: Resolver = inProject('ticket', (db, id) => db.selectFrom('tickets').select('project_id').where('id', '=', id).executeTakeFirst())

/** How an id in a request becomes a resource; the names are those that endpoints use in `on`. */
export const RESOLVERS = {
  project,
  repository: inProject('repository', (db, id) => db.selectFrom('repositories').select(['project_id', 'slug as name']).where('id', '=', id).executeTakeFirst()),
  session: inProject('session', (db, id) => db.selectFrom('design_sessions').select('project_id').where('id', '=', id).executeTakeFirst()),
  ticket: ticketOf,
  attempt: async (db, id) => {
    const row = await db.selectFrom('attempts').select('ticket_id').where('id', '=', id).executeTakeFirst()
    return row ? ticketOf(db, row.ticket_id) : null
  },
  question: inProject('question', (db, id) => db.selectFrom('questions').select('project_id').where('id', '=', id).executeTakeFirst()),
  approval: inProject('approval', (db, id) => db.selectFrom('approvals').select(['project_id', 'kind as about']).where('id', '=', id).executeTakeFirst()),
  /** By its own id or its ticket's. */
  change: inProject('change', (db, id) => db.selectFrom('changes').select(['project_id', 'branch as name']).where((eb) => eb.or([eb('id', '=', id), eb('ticket_id', '=', id)])).executeTakeFirst()),
  check: inProject('project', (db, id) => db.selectFrom('check_runs').select('project_id').where('id', '=', id).executeTakeFirst()),
  vm: inProject('vm', (db, id) => db.selectFrom('vms').select('project_id').where('id', '=', id).executeTakeFirst()),
  /** Of a project, or of an organisation for all of its projects. */
  secret: async (db, id) => {
    const row = await db.selectFrom('secrets').select(['organization_id', 'project_id', 'name']).where('id', '=', id).executeTakeFirst()
    if (!row) return null
    const parent = row.project_id === null ? { organizationId: row.organization_id, projectId: null } : await project(db, row.project_id)
    return parent && { ...parent, kind: 'secret', id, name: row.name }
  },
  organization: async (db, id) => {
    const row = await db.selectFrom('organizations').select(['id', 'slug']).where((eb) => eb.or([eb('id', '=', id), eb('slug', '=', id)])).executeTakeFirst()
    return row ? { kind: 'organization', id: row.id, organizationId: row.id, projectId: null, name: row.slug } : null
  },
} as const satisfies Record<string, Resolver>

export type ResolverName = keyof typeof RESOLVERS
