import { z } from 'zod'
import { ROLES } from '@swarm/core/policy/actions.ts'
import { endpoint, inParams } from '../endpoint.ts'
import { Email } from './accounts.ts'
import { pageOf, PageQuery, Slug, Time } from './shared.ts'

/*
 * Organisations are tenants: projects, secrets and budgets belong to one. Whoever is not a member is told that there is none.
 */

const tag = { access: ['person'], tag: 'organizations' } as const
const of = (action: 'organization:read' | 'organization:update' | 'organization:members' | 'organization:leave') => ({ ...tag, action, on: inParams('organization', 'organizationId') } as const)
const params = z.object({ organizationId: z.string().max(80) })

export const Organization = z.object({ id: z.string(), slug: Slug, name: z.string(), createdAt: Time })
export type Organization = z.infer<typeof Organization>
const OrganizationName = z.string().trim().min(1).max(100)

export const listOrganizations = endpoint({ ...tag, action: 'account:use', on: 'account', method: 'GET', path: '/api/auth/organizations', summary: 'Lists the organisations of the caller; all of them for a super_admin', query: PageQuery, response: pageOf(Organization) })
export const createOrganization = endpoint({
  ...tag, action: 'organization:create', on: 'installation', method: 'POST', path: '/api/auth/organizations', status: 201, summary: 'Creates an organisation, with the caller as its admin: a super_admin, or anybody where registration is open',
  body: z.object({ slug: Slug, name: OrganizationName.optional() }), response: Organization,
})
export const showOrganization = endpoint({ ...of('organization:read'), method: 'GET', path: '/api/auth/organizations/:organizationId', summary: 'Shows an organisation, by id or slug', params, response: Organization })
export const updateOrganization = endpoint({ ...of('organization:update'), method: 'PATCH', path: '/api/auth/organizations/:organizationId', summary: 'Renames an organisation', params, body: z.object({ name: OrganizationName }), response: Organization })

export const Member = z.object({ userId: z.string(), email: z.string(), name: z.string(), role: z.enum(ROLES), since: Time })
export type Member = z.infer<typeof Member>
export const listMembers = endpoint({ ...of('organization:read'), method: 'GET', path: '/api/auth/organizations/:organizationId/members', summary: 'Lists the members of an organisation by e-mail address', params, query: PageQuery, response: pageOf(Member) })
const memberParams = params.extend({ userId: z.string().max(254) })
export const setMember = endpoint({
  ...of('organization:members'), method: 'PUT', path: '/api/auth/organizations/:organizationId/members/:userId', summary: 'Changes the role of a member; a super_admin also adds a user who is none yet', params: memberParams, body: z.object({ role: z.enum(ROLES) }), response: Member,
})
export const removeMember = endpoint({ ...of('organization:members'), method: 'DELETE', path: '/api/auth/organizations/:organizationId/members/:userId', status: 204, summary: 'Removes a member', params: memberParams, response: z.undefined() })
export const leaveOrganization = endpoint({ ...of('organization:leave'), method: 'POST', path: '/api/auth/organizations/:organizationId/leave', status: 204, summary: 'Leaves an organisation', params, response: z.undefined() })

export const Invitation = z.object({
  id: z.string(), organizationId: z.string(), email: z.string(), role: z.enum(ROLES), state: z.enum(['open', 'accepted', 'revoked', 'expired']), invitedBy: z.string(), createdAt: Time, expiresAt: Time,
})
export type Invitation = z.infer<typeof Invitation>
export const listInvitations = endpoint({ ...of('organization:members'), method: 'GET', path: '/api/auth/organizations/:organizationId/invitations', summary: 'Lists the invitations of an organisation, newest first', params, query: PageQuery, response: pageOf(Invitation) })
export const invite = endpoint({
  ...of('organization:members'), method: 'POST', path: '/api/auth/organizations/:organizationId/invitations', status: 201, summary: 'Invites somebody by mail; an open invitation of the same address is replaced', params, body: z.object({ email: Email, role: z.enum(ROLES) }), response: Invitation,
})
export const revokeInvitation = endpoint({ ...of('organization:members'), method: 'DELETE', path: '/api/auth/organizations/:organizationId/invitations/:invitationId', status: 204, summary: 'Withdraws an open invitation', params: params.extend({ invitationId: z.string().max(40) }), response: z.undefined() })
