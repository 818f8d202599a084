import * as endpoints from '@swarm/contract/endpoints/organizations.ts'
import type { Invitation, Member, Organization } from '@swarm/contract/endpoints/organizations.ts'
import type { Role } from '@swarm/core/accounts/roles.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Secret } from '@swarm/core/secret.ts'
import type { Selectable } from 'kysely'
import type { Context } from '../../context.ts'
import type { Read } from '../../db/database.ts'
import { forUpdate } from '../../db/dialect.ts'
import type { OrganizationsTable } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { register } from '../../http/register.ts'
import { hashToken, type Principal } from '../../http/tokens.ts'
import { queueMail } from './mails.ts'
import { newestFirst, pageOfRows, readCursor } from './paging.ts'
import { closeInvitation, invitationPage, type InvitationRow } from './queries.ts'
import { actor, invitationToken, requireUser, type Act } from './service.ts'

/** An invitation is open for so long, ms. */
const INVITATION_MS = 7 * 24 * 60 * 60_000

const present = (row: Selectable<OrganizationsTable>): Organization => ({ id: row.id, slug: row.slug, name: row.name, createdAt: row.created_at })
const mayAll = (principal: Principal): boolean => principal.kind === 'admin' || principal.superAdmin === true

function presentInvitation(row: InvitationRow, now: number): Invitation {
  const state = row.accepted_at !== null ? 'accepted' : row.revoked_at !== null ? 'revoked' : row.expires_at <= now ? 'expired' : 'open'
  return { id: row.id, organizationId: row.organization_id ?? '', email: row.email ?? '', role: row.role as Role, state, invitedBy: row.invited_by, createdAt: row.created_at, expiresAt: row.expires_at }
}

const roleIn = async (db: Read | Trx, organizationId: string, userId: string): Promise<Role | undefined> =>
  (await db.selectFrom('members').select('role').where('organization_id', '=', organizationId).where('user_id', '=', userId).executeTakeFirst())?.role as Role | undefined

/**
 * The organisation, for somebody who may read it, or who has the role that is asked for.
 * @throws DomainError `not_found` for whoever is not a member, `forbidden` for one without the role
 */
async function organizationFor(db: Read | Trx, principal: Principal, idOrSlug: string, needed?: 'admin'): Promise<Selectable<OrganizationsTable>> {
  const row = await db.selectFrom('organizations').selectAll().where((eb) => eb.or([eb('id', '=', idOrSlug), eb('slug', '=', idOrSlug)])).executeTakeFirst()
  const role = row && !mayAll(principal) ? await roleIn(db, row.id, principal.id) : undefined
  if (!row || (!mayAll(principal) && role === undefined)) throw new DomainError('not_found', { kind: 'organization', id: idOrSlug })
  if (needed !== undefined && !mayAll(principal) && role !== needed) throw new DomainError('forbidden', { needed: `admin in ${row.slug}` })
  // What a key may do with organisations is not said by its scopes yet: it reads them.
  if (needed !== undefined && principal.scopes !== undefined && !principal.scopes.includes('*')) throw new DomainError('forbidden', { needed: 'a session, or a key of scope *' })
  return row
}

/** Locked on PostgreSQL: of two admins who remove each other, one is refused. */
async function adminsOf(trx: Trx, organizationId: string): Promise<string[]> {
  return (await forUpdate(trx, trx.selectFrom('members').select('user_id').where('organization_id', '=', organizationId).where('role', '=', 'admin').orderBy('user_id')).execute()).map((row) => row.user_id)
}

async function keepAnAdmin(trx: Trx, organization: { id: string; slug: string }, user: { id: string; email: string }): Promise<void> {
  const admins = await adminsOf(trx, organization.id)
  if (admins.length === 1 && admins[0] === user.id) throw new DomainError('last_admin', { who: user.email, what: `the organisation ${organization.slug}` })
}

const event = (type: string, organizationId: string, act: Act, data: Record<string, unknown>) => ({ type, projectId: null, subject: { kind: 'organization', id: organizationId }, correlationId: act.correlationId, data: { ...data, by: act.by } })

export function registerOrganizations(context: Context, secret: Secret): void {
  const { http, db, clock, ids, config } = context
  const actOf = ({ principal, correlationId }: { principal: Principal; correlationId: string }): Act => ({ by: actor(principal), now: clock(), correlationId })

  register(http, endpoints.listOrganizations, async ({ query, principal }) => {
    let rows = db.read.selectFrom('organizations').selectAll().where('slug', '>', query.cursor ?? '').orderBy('slug').limit(query.limit + 1)
    if (!mayAll(principal)) rows = rows.where('id', 'in', db.read.selectFrom('members').select('organization_id').where('user_id', '=', principal.id))
    return pageOfRows(await rows.execute(), query.limit, present, ({ slug }) => slug)
  })

  register(http, endpoints.createOrganization, async ({ body, principal, correlationId }) => {
    if (!mayAll(principal) && (config.accounts.registration !== 'open' || principal.scopes !== undefined)) throw new DomainError('forbidden', { needed: 'super_admin' })
    const act = actOf({ principal, correlationId })
    return db.write(async (trx) => {
      if (await trx.selectFrom('organizations').select('id').where('slug', '=', body.slug).executeTakeFirst()) throw new DomainError('name_taken', { kind: 'organization', name: body.slug })
      const row = { id: ids('organization'), slug: body.slug, name: body.name ?? body.slug, created_at: act.now }
      await trx.insertInto('organizations').values(row).execute()
      if (principal.kind === 'user') await trx.insertInto('members').values({ organization_id: row.id, user_id: principal.id, role: 'admin', created_at: act.now }).execute()
      await appendEvents(trx, [event('organization:created', row.id, act, { slug: row.slug })])
      return present(row)
    })
  })

  register(http, endpoints.showOrganization, async ({ params, principal }) => present(await organizationFor(db.read, principal, params.organizationId)))

  register(http, endpoints.updateOrganization, async ({ params, body, principal, correlationId }) => db.write(async (trx) => {
    const row = await organizationFor(trx, principal, params.organizationId, 'admin')
    await trx.updateTable('organizations').set({ name: body.name }).where('id', '=', row.id).execute()
    await appendEvents(trx, [event('organization:changed', row.id, actOf({ principal, correlationId }), { name: body.name })])
    return present({ ...row, name: body.name })
  }))

  const members = (read: Read | Trx, organizationId: string) => read.selectFrom('members').innerJoin('users', 'users.id', 'members.user_id')
    .select(['users.id as userId', 'email', 'users.name', 'role', 'members.created_at as since']).where('organization_id', '=', organizationId)

  register(http, endpoints.listMembers, async ({ params, query, principal }) => {
    const { id } = await organizationFor(db.read, principal, params.organizationId)
    const rows = await members(db.read, id).where('email', '>', query.cursor ?? '').orderBy('email').limit(query.limit + 1).execute()
    return pageOfRows(rows, query.limit, (row): Member => ({ ...row, role: row.role as Role }), ({ email }) => email)
  })

  register(http, endpoints.setMember, async ({ params, body, principal, correlationId }) => db.write(async (trx) => {
    const organization = await organizationFor(trx, principal, params.organizationId, 'admin')
    const act = actOf({ principal, correlationId })
    const user = await requireUser(trx, params.userId).catch(() => undefined)
    const role = user && await roleIn(trx, organization.id, user.id)
    // Whether somebody has an account here is not told to those who may not know it.
    if (!user || (role === undefined && !mayAll(principal))) throw new DomainError('not_found', { kind: 'member', id: params.userId })
    if (role === 'admin' && body.role !== 'admin') await keepAnAdmin(trx, organization, user)
    await trx.insertInto('members').values({ organization_id: organization.id, user_id: user.id, role: body.role, created_at: act.now })
      .onConflict((conflict) => conflict.columns(['organization_id', 'user_id']).doUpdateSet({ role: body.role })).execute()
    await appendEvents(trx, [event('member:changed', organization.id, act, { userId: user.id, role: body.role, from: role ?? null })])
    const row = await members(trx, organization.id).where('users.id', '=', user.id).executeTakeFirstOrThrow()
    return { ...row, role: row.role as Role }
  }))

  register(http, endpoints.removeMember, async ({ params, principal, correlationId }) => db.write(async (trx) => {
    const own = principal.kind === 'user' && principal.scopes === undefined && params.userId === principal.id
    const organization = await organizationFor(trx, principal, params.organizationId, ...(own ? [] : ['admin' as const]))
    const user = await requireUser(trx, params.userId).catch(() => undefined)
    const role = user && await roleIn(trx, organization.id, user.id)
    if (!user || role === undefined) throw new DomainError('not_found', { kind: 'member', id: params.userId })
    if (role === 'admin') await keepAnAdmin(trx, organization, user)
    await trx.deleteFrom('members').where('organization_id', '=', organization.id).where('user_id', '=', user.id).execute()
    await appendEvents(trx, [event('member:removed', organization.id, actOf({ principal, correlationId }), { userId: user.id, from: role })])
    return undefined
  }))

  register(http, endpoints.listInvitations, async ({ params, query, principal }) => {
    const { id } = await organizationFor(db.read, principal, params.organizationId, 'admin')
    const now = clock()
    return pageOfRows(await invitationPage(db.read, id, readCursor(query.cursor), query.limit + 1), query.limit, (row) => presentInvitation(row, now), newestFirst)
  })

  register(http, endpoints.invite, async ({ params, body, principal, correlationId }) => db.write(async (trx) => {
    const organization = await organizationFor(trx, principal, params.organizationId, 'admin')
    const act = actOf({ principal, correlationId })
    await trx.updateTable('invitations').set({ revoked_at: act.now }).where('organization_id', '=', organization.id).where('email', '=', body.email).where('accepted_at', 'is', null).where('revoked_at', 'is', null).execute()
    const id = ids('invitation')
    const row: InvitationRow = {
      id, kind: 'invitation', token_hash: hashToken(invitationToken(secret, id)), email: body.email, organization_id: organization.id, role: body.role, invited_by: act.by,
      expires_at: act.now + INVITATION_MS, created_at: act.now, accepted_at: null, accepted_by: null, revoked_at: null,
    }
    await trx.insertInto('invitations').values(row).execute()
    await queueMail(trx, { kind: 'invitation', recipient: body.email, data: { invitationId: id }, correlationId, now: act.now })
    await appendEvents(trx, [event('invitation:created', organization.id, act, { invitationId: id, email: body.email, role: body.role })])
    return presentInvitation(row, act.now)
  }))

  register(http, endpoints.revokeInvitation, async ({ params, principal, correlationId }) => db.write(async (trx) => {
    const organization = await organizationFor(trx, principal, params.organizationId, 'admin')
    const act = actOf({ principal, correlationId })
    const row = await trx.selectFrom('invitations').selectAll().where('id', '=', params.invitationId).where('organization_id', '=', organization.id).executeTakeFirst()
    if (!row) throw new DomainError('not_found', { kind: 'invitation', id: params.invitationId })
    if (!await closeInvitation(trx, row.id, act.now, { revoked_at: act.now })) throw new DomainError('link_invalid')
    await appendEvents(trx, [event('invitation:revoked', organization.id, act, { invitationId: row.id, email: row.email })])
    return undefined
  }))
}
