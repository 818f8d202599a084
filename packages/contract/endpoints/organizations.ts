import { z } from 'zod'
import { ROLES } from '@swarm/core/accounts/roles.ts'
import { endpoint } from '../endpoint.ts'
import { Email } from './accounts.ts'
import { pageOf, PageQuery, Slug, Time } from './shared.ts'

/*
 * Organisations are tenants: projects, secrets and budgets belong to one. Reading one takes a membership, changing it the role admin
 * in it; a super_admin may everything. Whoever is not a member is told that there is none.
 */

const both = { access: ['user', 'admin'], tag: 'organizations' } as const
const params = z.object({ organizationId: z.string().max(80) })

export const Organization = z.object({ id: z.string(), slug: Slug, name: z.string(), createdAt: Time })
export type Organization = z.infer<typeof Organization>
const OrganizationName = z.string().trim().min(1).max(100)

export const listOrganizations = endpoint({ ...both, method: 'GET', path: '/api/auth/organizations', summary: 'Lists the organisations of the caller; all of them for a super_admin', query: PageQuery, response: pageOf(Organization) })
export const createOrganization = endpoint({
  ...both, method: 'POST', path: '/api/auth/organizations', status: 201, summary: 'Creates an organisation, with the caller as its admin: a super_admin, or anybody where registration is open',
  body: z.object({ slug: Slug, name: OrganizationName.optional() }), response: Organization,
})
export const showOrganization = endpoint({ ...both, method: 'GET', path: '/api/auth/organizations/:organizationId', summary: 'Shows an organisation, by id or slug', params, response: Organization })
export const updateOrganization = endpoint({ ...both, method: 'PATCH', path: '/api/auth/organizations/:organizationId', summary: 'Renames an organisation', params, body: z.object({ name: OrganizationName }), response: Organization })

export const Member = z.object({ userId: z.string(), email: z.string(), name: z.string(), role: z.enum(ROLES), since: Time })
export type Member = z.infer<typeof Member>
export const listMembers = endpoint({ ...both, method: 'GET', path: '/api/auth/organizations/:organizationId/members', summary: 'Lists the members of an organisation by e-mail address', params, query: PageQuery, response: pageOf(Member) })
const memberParams = params.extend({ userId: z.string().max(254) })
export const setMember = endpoint({
  ...both, method: 'PUT', path: '/api/auth/organizations/:organizationId/members/:userId', summary: 'Changes the role of a member; a super_admin also adds a user who is none yet', params: memberParams, body: z.object({ role: z.enum(ROLES) }), response: Member,
})
export const removeMember = endpoint({ ...both, method: 'DELETE', path: '/api/auth/organizations/:organizationId/members/:userId', status: 204, summary: 'Removes a member; everybody may remove themselves', params: memberParams, response: z.undefined() })

export const Invitation = z.object({
  id: z.string(), organizationId: z.string(), email: z.string(), role: z.enum(ROLES), state: z.enum(['open', 'accepted', 'revoked', 'expired']), invitedBy: z.string(), createdAt: Time, expiresAt: Time,
})
export type Invitation = z.infer<typeof Invitation>
export const listInvitations = endpoint({ ...both, method: 'GET', path: '/api/auth/organizations/:organizationId/invitations', summary: 'Lists the invitations of an organisation, newest first', params, query: PageQuery, response: pageOf(Invitation) })
export const invite = endpoint({
  ...both, method: 'POST', path: '/api/auth/organizations/:organizationId/invitations', status: 201, summary: 'Invites somebody by mail; an open invitation of the same address is replaced', params, body: z.object({ email: Email, role: z.enum(ROLES) }), response: Invitation,
})
export const revokeInvitation = endpoint({ ...both, method: 'DELETE', path: '/api/auth/organizations/:organizationId/invitations/:invitationId', status: 204, summary: 'Withdraws an open invitation', params: params.extend({ invitationId: z.string().max(40) }), response: z.undefined() })
