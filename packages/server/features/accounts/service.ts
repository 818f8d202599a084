import type { User } from '@swarm/contract/endpoints/accounts.ts'
import { DEFAULT_ORGANIZATION_ID, ROLES, type Role } from '@swarm/core/policy/actions.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Secret } from '@swarm/core/secret.ts'
import { rightsChanged } from '../../authorization/rights.ts'
import type { Read } from '../../db/database.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { hashToken, revokeTokens, type Principal } from '../../http/tokens.ts'
import { newId } from '../../ids.ts'
import { queueMail } from './mails.ts'
import { activeSuperAdmins, anotherUser, closeInvitation, credentialOfUser, deleteLogins, invitationByHash, openInvitationsTo, updateUser, userByEmail, userById, userByIdOrEmail, type InvitationRow, type UserRow } from './queries.ts'
import { keyed } from './secret.ts'

/** Who acts and when, for every change. */
export interface Act { readonly by: string; readonly now: number; readonly correlationId: string }

export const actor = (principal: Principal): string => `${principal.kind} ${principal.id}`

export function presentUser(row: UserRow): User {
  return { id: row.id, email: row.email, name: row.name, superAdmin: row.super_admin === 1, twoFactor: row.two_factor_enabled === 1, disabled: row.disabled_at !== null, createdAt: row.created_at }
}

export async function requireUser(db: Read | Trx, idOrEmail: string): Promise<UserRow> {
  const row = await userByIdOrEmail(db, idOrEmail)
  if (!row) throw new DomainError('not_found', { kind: 'user', id: idOrEmail })
  return row
}

/** The user of a session, for what is about the account itself. @throws DomainError `session_needed` for an API key */
export function sessionOf(principal: Principal): { userId: string; loginId: string } {
  if (principal.kind !== 'user' || principal.scopes !== undefined || principal.tokenId === null) throw new DomainError('session_needed')
  return { userId: principal.id, loginId: principal.tokenId }
}

export const userEvent = (type: string, userId: string, act: Act, data: Record<string, unknown> = {}) => ({ type, projectId: null, subject: { kind: 'user', id: userId }, correlationId: act.correlationId, data: { ...data, by: act.by } })

/** The token in the link of an invitation: made from its id, so that it can be sent again and is kept nowhere. */
export function invitationToken(secret: Secret, invitationId: string): string {
  return `swarm_invitation_${keyed(secret, 'invitation', invitationId)}`
}
/** The token in the link of a reset, made from the mail that brings it. */
export function resetToken(secret: Secret, mailId: string): string {
  return `swarm_reset_${keyed(secret, 'reset', mailId)}`
}
export const resetIdentifier = (token: string): string => `reset ${hashToken(token)}`

/** An open link by its token. @throws DomainError `link_invalid` */
export async function openInvitation(db: Trx, token: string, now: number): Promise<InvitationRow> {
  const row = await invitationByHash(db, hashToken(token))
  if (!row || row.accepted_at !== null || row.revoked_at !== null || row.expires_at <= now) throw new DomainError('link_invalid')
  return row
}

/** Makes an invited user a member; the better of two roles stays. */
async function accept(trx: Trx, row: InvitationRow, userId: string, act: Act): Promise<void> {
  if (!await closeInvitation(trx, row.id, act.now, { accepted_at: act.now, accepted_by: userId })) throw new DomainError('link_invalid')
  if (row.organization_id === null || row.role === null) return
  const present = await trx.selectFrom('members').select('role').where('organization_id', '=', row.organization_id).where('user_id', '=', userId).executeTakeFirst()
  if (present && ROLES.indexOf(present.role as Role) >= ROLES.indexOf(row.role as Role)) return
  await trx.insertInto('members').values({ organization_id: row.organization_id, user_id: userId, role: row.role, created_at: act.now })
    .onConflict((conflict) => conflict.columns(['organization_id', 'user_id']).doUpdateSet({ role: row.role! })).execute()
  await appendEvents(trx, [{ type: 'member:changed', projectId: null, subject: { kind: 'organization', id: row.organization_id }, correlationId: act.correlationId, data: { userId, role: row.role, invitationId: row.id, by: act.by } }])
}

/**
 * Makes the account that a link is for, in the unit that uses the link up: of two who redeem it at once, one gets the account.
 * @throws DomainError `link_invalid`, `account_exists`, `invalid_input` without an e-mail address at the first set-up
 */
export async function redeem(trx: Trx, input: { token: string; name: string; passwordHash: string; email: string | undefined }, act: Omit<Act, 'by'>): Promise<UserRow> {
  const row = await openInvitation(trx, input.token, act.now)
  const email = row.email ?? input.email
  if (email === undefined) throw new DomainError('invalid_input', { problem: 'the first account needs an e-mail address', field: 'body.email' })
  if (row.email !== null && input.email !== undefined && input.email !== row.email) throw new DomainError('not_your_invitation')
  if (await userByEmail(trx, email)) throw new DomainError('account_exists')
  const id = newId('user')
  const user: UserRow = { id, email, name: input.name, image: null, email_verified: 1, super_admin: row.kind === 'setup' ? 1 : 0, two_factor_enabled: 0, disabled_at: null, created_at: act.now, updated_at: act.now }
  const by = `user ${id}`
  await trx.insertInto('users').values(user).execute()
  await setPassword(trx, id, input.passwordHash, act.now)
  await appendEvents(trx, [userEvent('user:created', id, { ...act, by }, { email, via: row.kind, superAdmin: row.kind === 'setup' })])
  await accept(trx, row, id, { ...act, by })
  if (row.kind === 'setup') {
    // The first user closes every way to become the first: two links of two hosts cannot both be used.
    await trx.updateTable('invitations').set({ revoked_at: act.now }).where('kind', '=', 'setup').where('accepted_at', 'is', null).where('revoked_at', 'is', null).execute()
    if (await anotherUser(trx, id)) throw new DomainError('link_invalid')
    await trx.insertInto('members').values({ organization_id: DEFAULT_ORGANIZATION_ID, user_id: id, role: 'admin', created_at: act.now }).execute()
  }
  return user
}

/** Somebody came by GitHub, which has verified the address: open invitations to it are theirs. */
export async function welcome(trx: Trx, user: { id: string; email: string }, act: Act): Promise<void> {
  await appendEvents(trx, [userEvent('user:created', user.id, act, { email: user.email, via: 'github', superAdmin: false })])
  for (const row of await openInvitationsTo(trx, user.email, act.now)) await accept(trx, row, user.id, act)
}

/** Accepts an invitation for somebody who has an account. @throws DomainError `link_invalid`, `not_your_invitation` */
export async function acceptWithAccount(trx: Trx, token: string, userId: string, act: Act): Promise<{ organizationId: string; role: Role }> {
  const row = await openInvitation(trx, token, act.now)
  if (row.kind !== 'invitation' || row.organization_id === null) throw new DomainError('link_invalid')
  if ((await userById(trx, userId))?.email !== row.email) throw new DomainError('not_your_invitation')
  await accept(trx, row, userId, act)
  return { organizationId: row.organization_id, role: row.role as Role }
}

async function setPassword(trx: Trx, userId: string, hash: string, now: number): Promise<void> {
  const known = await credentialOfUser(trx, userId, 'credential')
  if (known) await trx.updateTable('user_credentials').set({ password: hash, updated_at: now }).where('id', '=', known.id).execute()
  else {
    await trx.insertInto('user_credentials').values({
      id: newId('login'), user_id: userId, provider_id: 'credential', account_id: userId, issuer: null, password: hash, access_token: null, refresh_token: null, id_token: null, scope: null,
      access_token_expires_at: null, refresh_token_expires_at: null, created_at: now, updated_at: now,
    }).execute()
  }
}

/** A new password ends the sessions that the old one may have opened, in the same unit, and its user is told by mail. */
export async function replacePassword(trx: Trx, input: { userId: string; hash: string; keepLoginId?: string; expected?: string | null }, act: Act): Promise<void> {
  const known = await credentialOfUser(trx, input.userId, 'credential')
  // It was compared before this unit began: somebody may have changed it since.
  if (input.expected !== undefined && known?.password !== input.expected) throw new DomainError('password_wrong')
  const user = await requireUser(trx, input.userId)
  await setPassword(trx, user.id, input.hash, act.now)
  const ended = await endLogins(trx, user.id, input.keepLoginId === undefined ? {} : { except: input.keepLoginId })
  await appendEvents(trx, [userEvent('user:password_changed', user.id, act, { endedSessions: ended.length })])
  await queueMail(trx, { kind: 'password_changed', recipient: user.email, correlationId: act.correlationId, now: act.now })
}

/** Uses up the token of a reset. @returns its user. @throws DomainError `link_invalid` */
export async function consumeReset(trx: Trx, token: string, now: number): Promise<string> {
  const row = await trx.deleteFrom('verifications').where('identifier', '=', resetIdentifier(token)).where('expires_at', '>', now).returning('value').executeTakeFirst()
  if (!row) throw new DomainError('link_invalid')
  // Other links that were sent meanwhile are void with it.
  await trx.deleteFrom('verifications').where('identifier', 'like', 'reset %').where('value', '=', row.value).execute()
  return row.value
}

/** Ends sessions of a user, their live connections among it. @returns ids of those that were there */
export async function endLogins(trx: Trx, userId: string, which: { only?: string; except?: string } = {}): Promise<string[]> {
  const ended = await deleteLogins(trx, userId, which)
  if (ended.length > 0) await rightsChanged(trx, { userId })
  return ended
}

/** Changes what an administrator may; who is disabled is out at once. @throws DomainError `last_admin` */
export async function administer(trx: Trx, idOrEmail: string, patch: { superAdmin?: boolean | undefined; disabled?: boolean | undefined }, act: Act): Promise<UserRow> {
  const admins = await activeSuperAdmins(trx)
  const user = await requireUser(trx, idOrEmail)
  const superAdmin = patch.superAdmin ?? user.super_admin === 1
  const disabled = patch.disabled ?? user.disabled_at !== null
  if ((!superAdmin || disabled) && admins.length === 1 && admins[0] === user.id) throw new DomainError('last_admin', { who: user.email, what: 'this installation' })
  const changed = { super_admin: superAdmin ? 1 : 0, disabled_at: disabled ? user.disabled_at ?? act.now : null, updated_at: act.now }
  await updateUser(trx, user.id, changed)
  if (disabled) {
    await endLogins(trx, user.id)
    await revokeTokens(trx, { kind: 'key', subjectId: user.id })
  }
  await appendEvents(trx, [userEvent('user:changed', user.id, act, { superAdmin, disabled })])
  await rightsChanged(trx, { userId: user.id })
  return { ...user, ...changed }
}
