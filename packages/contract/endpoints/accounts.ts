import { z } from 'zod'
import { ROLES } from '@swarm/core/policy/actions.ts'
import { endpoint } from '../endpoint.ts'
import { pageOf, PageQuery, Time } from './shared.ts'

/*
 * Who people are and how they sign in. A session is a cookie in a browser (HttpOnly) and a bearer token for programs; requests that
 * change something and come with the cookie must come from a page of this server (403 `csrf`).
 */

export const Email = z.string().max(254).trim().toLowerCase().pipe(z.email('an e-mail address'))
export const PersonName = z.string().trim().min(1).max(100).regex(/^[^\p{Cc}<>]*$/u, 'no control characters, < or >')
export const Password = z.string().min(12, 'at least 12 characters').max(200)
/** One that is only compared: what was allowed once need not be today. */
const GivenPassword = z.string().min(1).max(200)
/** What a link in a mail ends with. */
const LinkToken = z.string().min(10).max(200)
const Code = z.string().trim().min(4).max(32)

export const User = z.object({
  id: z.string(), email: z.string(), name: z.string(), superAdmin: z.boolean(), twoFactor: z.boolean(), disabled: z.boolean(), createdAt: Time,
})
export type User = z.infer<typeof User>
export const Membership = z.object({ organizationId: z.string(), slug: z.string(), name: z.string(), role: z.enum(ROLES) })

const auth = { tag: 'accounts' } as const
const open = { ...auth, access: ['public'] } as const
/** Of the own account. */
const own = { ...auth, access: ['person'], action: 'account:use', on: 'account' } as const
/** The same, where it changes how the account is protected: with a session only. */
const secure = { ...own, action: 'account:secure' } as const

export const signInOptions = endpoint({
  ...open, method: 'GET', path: '/api/auth/sign-in', summary: 'What signing in and registering takes here',
  response: z.object({ registration: z.enum(['open', 'invite', 'closed']), github: z.boolean() }),
})
export const signIn = endpoint({
  ...open, method: 'POST', path: '/api/auth/sign-in', summary: 'Signs in with e-mail and password: sets the cookie of a session, or asks for a second factor',
  body: z.object({ email: Email, password: GivenPassword }),
  response: z.object({ next: z.enum(['signed_in', 'second_factor']) }),
})
export const signInTwoFactor = endpoint({
  ...open, method: 'POST', path: '/api/auth/sign-in/two-factor', summary: 'Finishes a sign-in with a code of the authenticator app, or with a backup code, which is used up',
  body: z.union([z.strictObject({ code: Code }), z.strictObject({ backupCode: Code })]), response: z.object({ next: z.literal('signed_in') }),
})
export const signOut = endpoint({ ...secure, method: 'POST', path: '/api/auth/sign-out', summary: 'Ends the session of this request', status: 204, response: z.undefined() })

export const signInWithGithub = endpoint({
  ...open, method: 'GET', path: '/api/auth/github', summary: 'Sends a browser to GitHub to sign in there', query: z.object({ returnTo: z.string().max(500).regex(/^\/(?![/\\])[^\s\\]*$/, 'a path of this server').optional() }), response: z.undefined(),
})
export const githubCallback = endpoint({
  ...open, method: 'GET', path: '/api/auth/callback/github', summary: 'Where GitHub sends the browser back to', query: z.object({
    code: z.string().max(500).optional(), state: z.string().max(500).optional(), error: z.string().max(200).optional(), error_description: z.string().max(1_000).optional(), iss: z.string().max(500).optional(),
  }), response: z.undefined(),
})

export const register = endpoint({
  ...open, method: 'POST', path: '/api/auth/register', status: 202, summary: 'Open registration: sends a link to the address, whether or not it has an account',
  body: z.object({ email: Email }), response: z.object({ sent: z.literal(true) }),
})
export const showInvitation = endpoint({
  ...open, method: 'POST', path: '/api/auth/invitations/show', summary: 'What a link of an invitation, registration or first set-up is about, for whoever holds it',
  body: z.object({ token: LinkToken }), response: z.object({
    kind: z.enum(['setup', 'invitation', 'registration']), email: z.string().nullable(), organization: z.string().nullable(), role: z.enum(ROLES).nullable(), hasAccount: z.boolean(), expiresAt: Time,
  }),
})
export const redeemInvitation = endpoint({
  ...open, method: 'POST', path: '/api/auth/invitations/redeem', status: 201, summary: 'Makes the account that a link is for, once, and signs in',
  body: z.object({
    token: LinkToken, name: PersonName, password: Password,
    /** At the first set-up only: every other link is for one address. */
    email: Email.optional(),
  }), response: User,
})
export const acceptInvitation = endpoint({
  ...secure, method: 'POST', path: '/api/auth/invitations/accept', summary: 'Accepts an invitation with the account that is signed in', body: z.object({ token: LinkToken }), response: Membership,
})

export const forgotPassword = endpoint({
  ...open, method: 'POST', path: '/api/auth/password/forgot', status: 202, summary: 'Sends a link to choose a new password, if the address has an account; the answer does not tell',
  body: z.object({ email: Email }), response: z.object({ sent: z.literal(true) }),
})
export const resetPassword = endpoint({
  ...open, method: 'POST', path: '/api/auth/password/reset', status: 204, summary: 'Sets a new password by such a link, once, and ends all sessions', body: z.object({ token: LinkToken, password: Password }), response: z.undefined(),
})
export const changePassword = endpoint({
  ...secure, method: 'POST', path: '/api/auth/password/change', status: 204, summary: 'Changes the password and ends all other sessions', body: z.object({ current: GivenPassword, password: Password }), response: z.undefined(),
})

export const showMe = endpoint({
  ...own, method: 'GET', path: '/api/auth/me', summary: 'Who this session or key is', response: User.extend({
    memberships: z.array(Membership), via: z.enum(['session', 'key']), scopes: z.array(z.string()).nullable(), hasPassword: z.boolean(), github: z.boolean(),
  }),
})
export const updateMe = endpoint({ ...own, method: 'PATCH', path: '/api/auth/me', summary: 'Changes the profile', body: z.object({ name: PersonName }), response: User })

export const Login = z.object({ id: z.string(), userId: z.string(), ipAddress: z.string().nullable(), userAgent: z.string().nullable(), createdAt: Time, seenAt: Time, expiresAt: Time, current: z.boolean() })
export type Login = z.infer<typeof Login>
export const listLogins = endpoint({ ...own, method: 'GET', path: '/api/auth/sessions', summary: 'Lists the own active sessions, newest first', query: PageQuery, response: pageOf(Login) })
export const revokeLogin = endpoint({ ...secure, method: 'DELETE', path: '/api/auth/sessions/:loginId', status: 204, summary: 'Ends an own session; a super_admin ends any', params: z.object({ loginId: z.string().max(40) }), response: z.undefined() })
export const revokeOtherLogins = endpoint({ ...secure, method: 'POST', path: '/api/auth/sessions/revoke-others', summary: 'Ends all own sessions but this one', response: z.object({ ended: z.number().int() }) })

export const enableTwoFactor = endpoint({
  ...secure, shownOnce: true, method: 'POST', path: '/api/auth/two-factor/enable', summary: 'Begins a second factor: the secret for the authenticator app and the backup codes, shown once; it holds once a code was confirmed',
  body: z.object({ password: GivenPassword }), response: z.object({ totpUri: z.string(), backupCodes: z.array(z.string()) }),
})
export const confirmTwoFactor = endpoint({ ...secure, method: 'POST', path: '/api/auth/two-factor/confirm', status: 204, summary: 'Switches the second factor on with a first code of the app', body: z.object({ code: Code }), response: z.undefined() })
export const disableTwoFactor = endpoint({ ...secure, method: 'POST', path: '/api/auth/two-factor/disable', status: 204, summary: 'Switches the second factor off', body: z.object({ password: GivenPassword }), response: z.undefined() })
export const renewBackupCodes = endpoint({ ...secure, shownOnce: true, method: 'POST', path: '/api/auth/two-factor/backup-codes', summary: 'New backup codes in place of the old ones, shown once', body: z.object({ password: GivenPassword }), response: z.object({ backupCodes: z.array(z.string()) }) })

/** The command line as a client of the device flow. */
export const DEVICE_CLIENT = 'swarm-cli'
export const requestDeviceCode = endpoint({
  ...open, method: 'POST', path: '/api/auth/device/code', summary: 'Device login (RFC 8628): a code that a signed-in person approves', body: z.object({ clientId: z.literal(DEVICE_CLIENT) }),
  response: z.object({ deviceCode: z.string(), userCode: z.string(), verificationUri: z.string(), verificationUriComplete: z.string(), expiresInMs: z.number().int(), intervalMs: z.number().int() }),
})
export const redeemDeviceCode = endpoint({
  ...open, shownOnce: true, method: 'POST', path: '/api/auth/device/token', summary: 'Asks for the session of an approved device: 400 device_pending until then, device_slow_down when asked too often', body: z.object({ clientId: z.literal(DEVICE_CLIENT), deviceCode: z.string().min(10).max(200) }),
  response: z.object({ token: z.string(), expiresAt: Time }),
})
const UserCode = z.string().trim().min(4).max(20)
export const showDevice = endpoint({ ...own, method: 'GET', path: '/api/auth/device', summary: 'The request of a device by its code', query: z.object({ userCode: UserCode }), response: z.object({ userCode: z.string(), status: z.string() }) })
export const decideDevice = endpoint({ ...secure, method: 'POST', path: '/api/auth/device/decision', status: 204, summary: 'Approves or denies the request of a device, which then acts as this user', body: z.object({ userCode: UserCode, decision: z.enum(['approved', 'denied']) }), response: z.undefined() })

// What administrators do with users.
export const listUsers = endpoint({ ...auth, access: ['person'], action: 'user:read', on: 'installation', method: 'GET', path: '/api/auth/users', summary: 'Lists users by e-mail address', query: PageQuery.extend({ search: z.string().max(100).optional() }), response: pageOf(User) })
export const showUser = endpoint({ ...auth, access: ['person'], action: 'user:read', on: 'installation', method: 'GET', path: '/api/auth/users/:userId', summary: 'Shows a user, by id or e-mail address', params: z.object({ userId: z.string().max(254) }), response: User.extend({ memberships: z.array(Membership) }) })
export const updateUser = endpoint({
  ...auth, access: ['person'], action: 'user:edit', on: 'installation', method: 'PATCH', path: '/api/auth/users/:userId', summary: 'Makes a user super_admin or not, or disables one, which ends sessions and keys at once', params: z.object({ userId: z.string().max(254) }),
  body: z.strictObject({ superAdmin: z.boolean().optional(), disabled: z.boolean().optional() }), response: User,
})
export const listUserLogins = endpoint({ ...auth, access: ['person'], action: 'user:read', on: 'installation', method: 'GET', path: '/api/auth/users/:userId/sessions', summary: 'Lists the active sessions of a user', params: z.object({ userId: z.string().max(254) }), query: PageQuery, response: pageOf(Login) })
