import * as endpoints from '@swarm/contract/endpoints/organizations.ts'
import type { Invitation, Member, Organization } from '@swarm/contract/endpoints/organizations.ts'
import type { Role } from '@swarm/core/policy/actions.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Secret } from '@swarm/core/secret.ts'
import type { Selectable } from 'kysely'
import { INSTALLATION } from '../../authorization/resources.ts'
import { rightsChanged } from '../../authorization/rights.ts'
import type { Context } from '../../context.ts'
import type { Read } from '../../db/database.ts'
import { forUpdate } from '../../db/dialect.ts'
import type { OrganizationsTable } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { byCreation, page, readPosition } from '../../http/pages.ts'
import { register } from '../../http/register.ts'
import { hashToken, type Principal } from '../../http/tokens.ts'
import { queueMail } from './mails.ts'
import { closeInvitation, invitationPage, type InvitationRow } from './queries.ts'
import { actor, invitationToken, requireUser, sessionOf, type Act } from './service.ts'

/** An invitation is open for so long, ms. */
const INVITATION_MS = 7 * 24 * 60 * 60_000

const present = (row: Selectable<OrganizationsTable>): Organization => ({ id: row.id, slug: row.slug, name: row.name, createdAt: row.created_at })

function presentInvitation(row: InvitationRow, now: number): Invitation {
  const state = row.accepted_at !== null ? 'accepted' : row.revoked_at !== null ? 'revoked' : row.expires_at <= now ? 'expired' : 'open'
  return { id: row.id, organizationId: row.organization_id ?? '', email: row.email ?? '', role: row.role as Role, state, invitedBy: row.invited_by, createdAt: row.created_at, expiresAt: row.expires_at }
}

const roleIn = async (db: Read | Trx, organizationId: string, userId: string): Promise<Role | undefined> =>
  (await db.selectFrom('members').select('role').where('organization_id', '=', organizationId).where('user_id', '=', userId).executeTakeFirst())?.role as Role | undefined

async function requireOrganization(db: Read | Trx, idOrSlug: string): Promise<Selectable<OrganizationsTable>> {
  const row = await db.selectFrom('organizations').selectAll().where((eb) => eb.or([eb('id', '=', idOrSlug), eb('slug', '=', idOrSlug)])).executeTakeFirst()
  if (!row) throw new DomainError('not_found', { kind: 'organization', id: idOrSlug })
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
  const { http, db, clock, ids, config, authorization } = context
  /** Who looks after the whole installation sees all organisations and users. */
  const seesAll = async (read: Read | Trx, principal: Principal): Promise<boolean> => (await authorization.decide(read, principal, 'user:read', INSTALLATION)).outcome === 'allow'
  const actOf = ({ principal, correlationId }: { principal: Principal; correlationId: string }): Act => ({ by: actor(principal), now: clock(), correlationId })

  register(http, endpoints.listOrganizations, async ({ query, principal }) => {
    let rows = db.read.selectFrom('organizations').selectAll().where('slug', '>', query.cursor ?? '').orderBy('slug').limit(query.limit + 1)
    if (!await seesAll(db.read, principal)) rows = rows.where('id', 'in', db.read.selectFrom('members').select('organization_id').where('user_id', '=', principal.id))
    return page(await rows.execute(), query.limit, present, ({ slug }) => slug)
  })

  register(http, endpoints.createOrganization, async ({ body, principal, correlationId }) => {
    if (config.accounts.registration !== 'open' && !await seesAll(db.read, principal)) throw new DomainError('registration_closed')
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

  register(http, endpoints.showOrganization, async ({ params }) => present(await requireOrganization(db.read, params.organizationId)))

  register(http, endpoints.updateOrganization, async ({ params, body, principal, correlationId }) => db.write(async (trx) => {
    const row = await requireOrganization(trx, params.organizationId)
    await trx.updateTable('organizations').set({ name: body.name }).where('id', '=', row.id).execute()
    await appendEvents(trx, [event('organization:changed', row.id, actOf({ principal, correlationId }), { name: body.name })])
    return present({ ...row, name: body.name })
  }))

  const members = (read: Read | Trx, organizationId: string) => read.selectFrom('members').innerJoin('users', 'users.id', 'members.user_id')
    .select(['users.id as userId', 'email', 'users.name', 'role', 'members.created_at as since']).where('organization_id', '=', organizationId)

  register(http, endpoints.listMembers, async ({ params, query }) => {
    const { id } = await requireOrganization(db.read, params.organizationId)
    const rows = await members(db.read, id).where('email', '>', query.cursor ?? '').orderBy('email').limit(query.limit + 1).execute()
    return page(rows, query.limit, (row): Member => ({ ...row, role: row.role as Role }), ({ email }) => email)
  })

  register(http, endpoints.setMember, async ({ params, body, principal, correlationId }) => db.write(async (trx) => {
    const organization = await requireOrganization(trx, params.organizationId)
    const act = actOf({ principal, correlationId })
    const user = await requireUser(trx, params.userId).catch(() => undefined)
    const role = user && await roleIn(trx, organization.id, user.id)
    // Whether somebody has an account here is not told to those who may not know it.
    if (!user || (role === undefined && !await seesAll(trx, principal))) throw new DomainError('not_found', { kind: 'member', id: params.userId })
    if (role === 'admin' && body.role !== 'admin') await keepAnAdmin(trx, organization, user)
    await trx.insertInto('members').values({ organization_id: organization.id, user_id: user.id, role: body.role, created_at: act.now })
      .onConflict((conflict) => conflict.columns(['organization_id', 'user_id']).doUpdateSet({ role: body.role })).execute()
    await appendEvents(trx, [event('member:changed', organization.id, act, { userId: user.id, role: body.role, from: role ?? null })])
    await rightsChanged(trx, { organizationId: organization.id, userId: user.id })
    const row = await members(trx, organization.id).where('users.id', '=', user.id).executeTakeFirstOrThrow()
    return { ...row, role: row.role as Role }
  }))

  const take = async (trx: Trx, organizationId: string, userId: string, act: Act): Promise<void> => {
    const organization = await requireOrganization(trx, organizationId)
    const user = await requireUser(trx, userId).catch(() => undefined)
    const role = user && await roleIn(trx, organization.id, user.id)
    if (!user || role === undefined) throw new DomainError('not_found', { kind: 'member', id: userId })
    if (role === 'admin') await keepAnAdmin(trx, organization, user)
    await trx.deleteFrom('members').where('organization_id', '=', organization.id).where('user_id', '=', user.id).execute()
    await appendEvents(trx, [event('member:removed', organization.id, act, { userId: user.id, from: role })])
    await rightsChanged(trx, { organizationId: organization.id, userId: user.id })
  }
  register(http, endpoints.removeMember, async ({ params, principal, correlationId }) => {
    await db.write((trx) => take(trx, params.organizationId, params.userId, actOf({ principal, correlationId })))
    return undefined
  })
  register(http, endpoints.leaveOrganization, async ({ params, principal, correlationId }) => {
    await db.write((trx) => take(trx, params.organizationId, sessionOf(principal).userId, actOf({ principal, correlationId })))
    return undefined
  })

  register(http, endpoints.listInvitations, async ({ params, query }) => {
    const { id } = await requireOrganization(db.read, params.organizationId)
    const now = clock()
    return page(await invitationPage(db.read, id, readPosition(query.cursor), query.limit + 1), query.limit, (row) => presentInvitation(row, now), byCreation)
  })

  register(http, endpoints.invite, async ({ params, body, principal, correlationId }) => db.write(async (trx) => {
    const organization = await requireOrganization(trx, params.organizationId)
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
    const organization = await requireOrganization(trx, params.organizationId)
    const act = actOf({ principal, correlationId })
    const row = await trx.selectFrom('invitations').selectAll().where('id', '=', params.invitationId).where('organization_id', '=', organization.id).executeTakeFirst()
    if (!row) throw new DomainError('not_found', { kind: 'invitation', id: params.invitationId })
    if (!await closeInvitation(trx, row.id, act.now, { revoked_at: act.now })) throw new DomainError('link_invalid')
    await appendEvents(trx, [event('invitation:revoked', organization.id, act, { invitationId: row.id, email: row.email })])
    return undefined
  }))
}
