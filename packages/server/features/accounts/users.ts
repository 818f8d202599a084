import * as endpoints from '@swarm/contract/endpoints/accounts.ts'
import type { Login } from '@swarm/contract/endpoints/accounts.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { INSTALLATION } from '../../authorization/resources.ts'
import type { Context } from '../../context.ts'
import { appendEvents } from '../../events/events.ts'
import { byCreation, page, readPosition } from '../../http/pages.ts'
import { register } from '../../http/register.ts'
import type { Principal } from '../../http/tokens.ts'
import { credentialOfUser, loginPage, membershipsOf, updateUser, userPage, type LoginRow } from './queries.ts'
import { actor, administer, endLogins, presentUser, requireUser, sessionOf, userEvent, type Act } from './service.ts'

/** The own profile and sessions, and what administrators do with users. */
export function registerUsers({ http, db, clock, authorization }: Context): void {
  const actOf = ({ principal, correlationId }: { principal: Principal; correlationId: string }): Act => ({ by: actor(principal), now: clock(), correlationId })
  const presentLogin = (row: LoginRow, current: string | null): Login => ({
    id: row.id, userId: row.user_id, ipAddress: row.ip_address, userAgent: row.user_agent, createdAt: row.created_at, seenAt: row.seen_at, expiresAt: row.expires_at, current: row.id === current,
  })
  const logins = async (userId: string, query: { cursor?: string | undefined; limit: number }, current: string | null) =>
    page(await loginPage(db.read, userId, clock(), readPosition(query.cursor), query.limit + 1), query.limit, (row) => presentLogin(row, current), byCreation)

  register(http, endpoints.showMe, async ({ principal }) => {
    const user = await requireUser(db.read, principal.id)
    return {
      ...presentUser(user), memberships: await membershipsOf(db.read, user.id), via: principal.scopes === undefined ? 'session' as const : 'key' as const, scopes: principal.scopes === undefined ? null : [...principal.scopes],
      hasPassword: await credentialOfUser(db.read, user.id, 'credential') !== undefined, github: await credentialOfUser(db.read, user.id, 'github') !== undefined,
    }
  })
  register(http, endpoints.updateMe, async ({ body, principal, correlationId }) => {
    const { userId } = sessionOf(principal)
    const act = actOf({ principal, correlationId })
    return db.write(async (trx) => {
      await updateUser(trx, userId, { name: body.name, updated_at: act.now })
      await appendEvents(trx, [userEvent('user:changed', userId, act, { name: body.name })])
      return presentUser(await requireUser(trx, userId))
    })
  })

  register(http, endpoints.listLogins, async ({ query, principal }) => {
    const { userId, loginId } = sessionOf(principal)
    return logins(userId, query, loginId)
  })
  register(http, endpoints.revokeLogin, async ({ params, principal, correlationId }) => {
    const any = (await authorization.decide(db.read, principal, 'user:edit', INSTALLATION)).outcome === 'allow'
    if (!any) sessionOf(principal)
    const act = actOf({ principal, correlationId })
    await db.write(async (trx) => {
      const row = await trx.selectFrom('user_sessions').select(['id', 'user_id']).where('id', '=', params.loginId).executeTakeFirst()
      if (!row || (!any && row.user_id !== principal.id)) throw new DomainError('not_found', { kind: 'session', id: params.loginId })
      await endLogins(trx, row.user_id, { only: row.id })
      await appendEvents(trx, [userEvent('user:session_ended', row.user_id, act, { loginId: row.id })])
    })
    return undefined
  })
  register(http, endpoints.revokeOtherLogins, async ({ principal, correlationId }) => {
    const { userId, loginId } = sessionOf(principal)
    const act = actOf({ principal, correlationId })
    return db.write(async (trx) => {
      const ended = await endLogins(trx, userId, { except: loginId })
      await appendEvents(trx, ended.map((id) => userEvent('user:session_ended', userId, act, { loginId: id })))
      return { ended: ended.length }
    })
  })

  register(http, endpoints.listUsers, async ({ query }) => page(await userPage(db.read, query.cursor ?? '', query.search, query.limit + 1), query.limit, presentUser, ({ email }) => email))
  register(http, endpoints.showUser, async ({ params }) => {
    const user = await requireUser(db.read, params.userId)
    return { ...presentUser(user), memberships: await membershipsOf(db.read, user.id) }
  })
  register(http, endpoints.updateUser, async ({ params, body, principal, correlationId }) => presentUser(await db.write((trx) => administer(trx, params.userId, body, actOf({ principal, correlationId })))))
  register(http, endpoints.listUserLogins, async ({ params, query }) => logins((await requireUser(db.read, params.userId)).id, query, null))
}
