import { rm } from 'node:fs/promises'
import * as endpoints from '@swarm/contract/endpoints/accounts.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Secret } from '@swarm/core/secret.ts'
import { z } from 'zod'
import type { Context } from '../../context.ts'
import { register } from '../../http/register.ts'
import { hashToken, type Principal } from '../../http/tokens.ts'
import type { Engine } from './engine.ts'
import { beginTry, guessSubject, succeeded, type GuessSubject } from './guesses.ts'
import { queueMail } from './mails.ts'
import { hashPassword, verifyPassword } from './passwords.ts'
import { credentialOfUser, userByEmail, userById } from './queries.ts'
import { acceptWithAccount, actor, consumeReset, invitationToken, openInvitation, presentUser, redeem, replacePassword, sessionOf, type Act } from './service.ts'
import { setupLinkPath } from './setup-link.ts'

/** A link of an open registration works for so long, ms. */
const REGISTRATION_MS = 24 * 60 * 60_000
const SignInAnswer = z.union([z.object({ twoFactorRedirect: z.literal(true) }), z.object({ token: z.string() })])
const Anything = z.unknown()

export interface AccountRoutes { readonly engine: () => Promise<Engine>; readonly secret: Secret; readonly github: boolean }

/** Signing in and out, links, passwords. */
export function registerSignIn(context: Context, { engine, secret, github }: AccountRoutes): void {
  const { http, db, clock, config, ids } = context
  const actOf = ({ principal, correlationId }: { principal: Principal; correlationId: string }): Act => ({ by: actor(principal), now: clock(), correlationId })

  /** One try of somebody to prove who they are: counted before it is known how it ends. */
  async function guarded<T>(subjects: readonly GuessSubject[], prove: () => Promise<T>): Promise<T> {
    await db.write((trx) => beginTry(trx, subjects, clock()))
    const proof = await prove()
    await db.write((trx) => succeeded(trx, subjects))
    return proof
  }
  const of = (account: string | null, address: string): GuessSubject[] => [...(account === null ? [] : [guessSubject(secret, 'account', account)]), guessSubject(secret, 'address', address)]

  const call: Engine['call'] = async (...given) => (await engine()).call(...given)

  register(http, endpoints.signInOptions, async () => ({ registration: config.accounts.registration, github }))

  register(http, endpoints.signIn, async ({ body, request, reply }) => {
    const answer = await guarded(of(body.email, request.ip), async () => (await call(request, reply, SignInAnswer, (api, headers) => api.signInEmail({ body, headers, asResponse: true }))).body)
    return { next: 'token' in answer ? 'signed_in' as const : 'second_factor' as const }
  })

  register(http, endpoints.signInTwoFactor, async ({ body, request, reply }) => {
    // better-auth counts the tries of a challenge, and those of the account over all challenges.
    await guarded(of(null, request.ip), () => call(request, reply, Anything, (api, headers) => 'code' in body
      ? api.verifyTOTP({ body: { code: body.code }, headers, asResponse: true }) : api.verifyBackupCode({ body: { code: body.backupCode }, headers, asResponse: true })))
    return { next: 'signed_in' as const }
  })

  register(http, endpoints.signOut, async ({ principal, request, reply }) => {
    sessionOf(principal)
    await call(request, reply, Anything, (api, headers) => api.signOut({ headers, asResponse: true }))
    return undefined
  })

  register(http, endpoints.register, async ({ body, correlationId }) => {
    if (config.accounts.registration !== 'open') throw new DomainError('registration_closed')
    const now = clock()
    await db.write(async (trx) => {
      // The same two rows whether or not the address has an account; which words it gets is decided when the mail is sent.
      if (!await beginMail(trx, body.email, now)) return
      const id = ids('invitation')
      await trx.insertInto('invitations').values({
        id, kind: 'registration', token_hash: hashToken(invitationToken(secret, id)), email: body.email, organization_id: null, role: null, invited_by: 'anonymous', expires_at: now + REGISTRATION_MS, created_at: now, accepted_at: null, accepted_by: null, revoked_at: null,
      }).execute()
      await queueMail(trx, { kind: 'registration', recipient: body.email, data: { invitationId: id }, correlationId, now })
    })
    return { sent: true as const }
  })

  /** Whether another mail may go to this address now: nobody is flooded, and the answer does not tell. */
  async function beginMail(trx: Parameters<typeof beginTry>[0], email: string, now: number): Promise<boolean> {
    return await beginTry(trx, [guessSubject(secret, 'mail', email)], now).then(() => true, (error: unknown) => {
      if (error instanceof DomainError && error.code === 'too_many_tries') return false
      throw error
    })
  }

  register(http, endpoints.showInvitation, async ({ body }) => db.write(async (trx) => {
    const row = await openInvitation(trx, body.token, clock())
    const organization = row.organization_id === null ? undefined : await trx.selectFrom('organizations').select('name').where('id', '=', row.organization_id).executeTakeFirst()
    return {
      kind: row.kind as 'setup' | 'invitation' | 'registration', email: row.email, organization: organization?.name ?? null, role: row.role as 'viewer' | 'developer' | 'admin' | null,
      hasAccount: row.email !== null && await userByEmail(trx, row.email) !== undefined, expiresAt: row.expires_at,
    }
  }))

  register(http, endpoints.redeemInvitation, async ({ body, correlationId, request, reply }) => {
    // Looked at before the costly hash, and again in the unit that uses it up.
    const row = await db.write((trx) => openInvitation(trx, body.token, clock()))
    if (row.kind !== 'setup' && config.accounts.registration === 'closed') throw new DomainError('registration_closed')
    const passwordHash = await hashPassword(body.password)
    const user = await db.write((trx) => redeem(trx, { token: body.token, name: body.name, passwordHash, email: body.email }, { now: clock(), correlationId }))
    await rm(setupLinkPath(config.home), { force: true })
    await call(request, reply, SignInAnswer, (api, headers) => api.signInEmail({ body: { email: user.email, password: body.password }, headers, asResponse: true }))
    return presentUser(user)
  })

  register(http, endpoints.acceptInvitation, async ({ body, principal, correlationId }) => {
    const { userId } = sessionOf(principal)
    return db.write(async (trx) => {
      const { organizationId } = await acceptWithAccount(trx, body.token, userId, actOf({ principal, correlationId }))
      const { slug, name } = await trx.selectFrom('organizations').select(['slug', 'name']).where('id', '=', organizationId).executeTakeFirstOrThrow()
      const { role } = await trx.selectFrom('members').select('role').where('organization_id', '=', organizationId).where('user_id', '=', userId).executeTakeFirstOrThrow()
      return { organizationId, slug, name, role: role as 'viewer' | 'developer' | 'admin' }
    })
  })

  register(http, endpoints.forgotPassword, async ({ body, correlationId }) => {
    const now = clock()
    await db.write(async (trx) => {
      if (await beginMail(trx, body.email, now)) await queueMail(trx, { kind: 'password_reset', recipient: body.email, correlationId, now })
    })
    return { sent: true as const }
  })

  register(http, endpoints.resetPassword, async ({ body, correlationId }) => {
    const hash = await hashPassword(body.password)
    await db.write(async (trx) => {
      const now = clock()
      const userId = await consumeReset(trx, body.token, now)
      await replacePassword(trx, { userId, hash }, { by: `user ${userId}`, now, correlationId })
      const email = (await userById(trx, userId))?.email
      if (email !== undefined) await succeeded(trx, [guessSubject(secret, 'account', email)])
    })
    return undefined
  })

  register(http, endpoints.changePassword, async ({ body, principal, correlationId, request }) => {
    const { userId, loginId } = sessionOf(principal)
    const known = await credentialOfUser(db.read, userId, 'credential')
    await guarded(of(userId, request.ip), async () => {
      if (known?.password == null || !await verifyPassword(known.password, body.current)) throw new DomainError('password_wrong')
    })
    const hash = await hashPassword(body.password)
    await db.write((trx) => replacePassword(trx, { userId, hash, keepLoginId: loginId, expected: known?.password ?? null }, actOf({ principal, correlationId })))
    return undefined
  })

  register(http, endpoints.signInWithGithub, async ({ query, request, reply }) => {
    if (!github) throw new DomainError('github_not_configured')
    const base = http.publicUrl()
    const { body } = await call(request, reply, z.object({ url: z.url() }), (api, headers) => api.signInSocial({ body: { provider: 'github', callbackURL: `${base}${query.returnTo ?? '/'}`, errorCallbackURL: `${base}/sign-in`, disableRedirect: true }, headers, asResponse: true }))
    return reply.redirect(body.url, 302)
  })

  register(http, endpoints.githubCallback, async ({ query, request, reply }) => {
    if (!github) throw new DomainError('github_not_configured')
    const { location } = await call(request, reply, Anything, (api, headers) => api.callbackOAuth({ params: { id: 'github' }, query, headers, method: 'GET', asResponse: true }))
    return reply.redirect(location ?? `${http.publicUrl()}/sign-in?error=failed`, 302)
  })

  const needsPassword = async (principal: Principal, address: string, password: string): Promise<void> => {
    const { userId } = sessionOf(principal)
    const known = await credentialOfUser(db.read, userId, 'credential')
    await guarded(of(userId, address), async () => {
      if (known?.password == null || !await verifyPassword(known.password, password)) throw new DomainError('password_wrong')
    })
  }

  register(http, endpoints.enableTwoFactor, async ({ body, principal, request, reply }) => {
    await needsPassword(principal, request.ip, body.password)
    const answer = await call(request, reply, z.object({ totpURI: z.string(), backupCodes: z.array(z.string()) }), (api, headers) => api.enableTwoFactor({ body: { password: body.password, method: 'totp' }, headers, asResponse: true }))
    return { totpUri: answer.body.totpURI, backupCodes: answer.body.backupCodes }
  })
  register(http, endpoints.confirmTwoFactor, async ({ body, principal, request, reply }) => {
    const { userId } = sessionOf(principal)
    await guarded(of(`second factor of ${userId}`, request.ip), () => call(request, reply, Anything, (api, headers) => api.verifyTOTP({ body, headers, asResponse: true })))
    return undefined
  })
  register(http, endpoints.disableTwoFactor, async ({ body, principal, request, reply }) => {
    await needsPassword(principal, request.ip, body.password)
    await call(request, reply, Anything, (api, headers) => api.disableTwoFactor({ body, headers, asResponse: true }))
    return undefined
  })
  register(http, endpoints.renewBackupCodes, async ({ body, principal, request, reply }) => {
    await needsPassword(principal, request.ip, body.password)
    return (await call(request, reply, z.object({ backupCodes: z.array(z.string()) }), (api, headers) => api.generateBackupCodes({ body, headers, asResponse: true }))).body
  })

  register(http, endpoints.requestDeviceCode, async ({ body, request, reply }) => {
    const { body: code } = await call(request, reply, z.object({ device_code: z.string(), user_code: z.string(), verification_uri: z.string(), verification_uri_complete: z.string(), expires_in: z.number(), interval: z.number() }),
      (api, headers) => api.deviceCode({ body: { client_id: body.clientId }, headers, asResponse: true }))
    return { deviceCode: code.device_code, userCode: code.user_code, verificationUri: code.verification_uri, verificationUriComplete: code.verification_uri_complete, expiresInMs: code.expires_in * 1000, intervalMs: code.interval * 1000 }
  })
  register(http, endpoints.redeemDeviceCode, async ({ body, request, reply }) => {
    const { body: token } = await call(request, reply, z.object({ access_token: z.string(), expires_in: z.number() }), (api, headers) => api.deviceToken({ body: { grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code: body.deviceCode, client_id: body.clientId }, headers, asResponse: true }))
    return { token: token.access_token, expiresAt: clock() + token.expires_in * 1000 }
  })
  register(http, endpoints.showDevice, async ({ query, principal, request, reply }) => {
    const { userId } = sessionOf(principal)
    const { body } = await guarded(of(`device codes of ${userId}`, request.ip), () => call(request, reply, z.object({ user_code: z.string(), status: z.string() }), (api, headers) => api.deviceVerify({ query: { user_code: query.userCode }, headers, asResponse: true })))
    return { userCode: body.user_code, status: body.status }
  })
  register(http, endpoints.decideDevice, async ({ body, principal, request, reply }) => {
    const { userId } = sessionOf(principal)
    await guarded(of(`device codes of ${userId}`, request.ip), async () => {
      // The first look at a code claims it for the one who looks; nobody else can decide it then.
      await call(request, reply, Anything, (api, headers) => api.deviceVerify({ query: { user_code: body.userCode }, headers, asResponse: true }))
      await call(request, reply, Anything, (api, headers) => (body.decision === 'approved' ? api.deviceApprove : api.deviceDeny)({ body: { userCode: body.userCode }, headers, asResponse: true }))
    })
    return undefined
  })
}
