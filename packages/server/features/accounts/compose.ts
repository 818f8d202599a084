import { z } from 'zod'
import type { Secret } from '@swarm/core/secret.ts'
import type { Database } from '../../db/database.ts'
import { fromJson, json } from '../../db/json.ts'
import { newId } from '../../ids.ts'
import type { ComposeMail } from './mails.ts'
import { userByEmail, userById } from './queries.ts'
import { invitationToken, resetIdentifier, resetToken } from './service.ts'

const RESET_MS = 60 * 60_000
const Data = z.object({ invitationId: z.string().optional(), linked: z.literal('yes').optional() })

/** The words of each kind of mail. The token of a link is behind `#`: browsers send that to nobody. */
export function composer(deps: { db: Database; secret: Secret; baseUrl: () => string; now: () => number }): ComposeMail {
  const { db, secret } = deps
  const words = (lines: readonly string[]): string => `${lines.join('\n\n')}\n\n-- \nSwarm at ${deps.baseUrl()}\n`

  async function invitation(id: string | undefined) {
    const row = await db.read.selectFrom('invitations').leftJoin('organizations', 'organizations.id', 'invitations.organization_id')
      .select(['invitations.id', 'invited_by', 'role', 'organizations.name as organization', 'expires_at', 'accepted_at', 'revoked_at']).where('invitations.id', '=', id ?? '').executeTakeFirst()
    return row === undefined || row.accepted_at !== null || row.revoked_at !== null || row.expires_at <= deps.now() ? null : row
  }
  const link = (id: string): string => `${deps.baseUrl()}/join#token=${invitationToken(secret, id)}`
  const until = (at: number): string => `It works once, until ${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC.`

  const kinds: Readonly<Record<string, ComposeMail>> = {
    async invitation({ recipient, data }) {
      const row = await invitation(fromJson(Data, data).invitationId)
      if (!row) return null
      const [kind, id = ''] = row.invited_by.split(' ')
      const inviter = kind === 'user' ? (await userById(db.read, id))?.name : undefined
      return { to: recipient, subject: `Invitation to ${row.organization ?? 'Swarm'}`, text: words([`${inviter ?? 'An administrator'} invites you to ${row.organization ?? 'Swarm'} as ${row.role ?? 'member'}.`, link(row.id), until(row.expires_at)]) }
    },
    async registration({ recipient, data }) {
      if (await userByEmail(db.read, recipient)) return { to: recipient, subject: 'You have an account already', text: words(['Somebody asked for an account with your address. You have one: sign in, or choose a new password there if you forgot it.', `${deps.baseUrl()}/sign-in`, 'If it was not you, nothing has to be done.']) }
      const row = await invitation(fromJson(Data, data).invitationId)
      return row && { to: recipient, subject: 'Finish your registration', text: words(['Open this to choose a name and a password.', link(row.id), until(row.expires_at), 'If you did not ask for an account, nothing has to be done.']) }
    },
    async password_reset({ id, recipient, data, created_at: createdAt }) {
      const user = await userByEmail(db.read, recipient)
      if (!user || user.disabled_at !== null) return null
      const token = resetToken(secret, id)
      const expiresAt = createdAt + RESET_MS
      if (expiresAt <= deps.now()) return null
      const identifier = resetIdentifier(token)
      // Sent again after a kill, it is the same link, which was made once: used already, it stays used.
      if (fromJson(Data, data).linked === undefined) await db.write(async (trx) => {
        await trx.updateTable('mails').set({ data: json({ linked: 'yes' }) }).where('id', '=', id).execute()
        await trx.insertInto('verifications').values({ id: newId('login'), identifier, value: user.id, expires_at: expiresAt, created_at: createdAt, updated_at: createdAt }).execute()
      })
      return { to: recipient, subject: 'Choose a new password', text: words(['Open this to choose a new password for Swarm.', `${deps.baseUrl()}/reset#token=${token}`, until(expiresAt), 'If you did not ask for it, nothing has to be done: your password stays.']) }
    },
    async password_changed({ recipient }) {
      return { to: recipient, subject: 'Your password was changed', text: words(['The password of your account was changed, and other sessions were ended.', `If it was not you, choose a new one at once: ${deps.baseUrl()}/sign-in`]) }
    },
  }
  return async (mail) => await kinds[mail.kind]?.(mail) ?? null
}
