import { betterAuth } from 'better-auth'
import { bearer, deviceAuthorization, genericOAuth, twoFactor } from 'better-auth/plugins'
import { DEVICE_CLIENT } from '@swarm/contract/endpoints/accounts.ts'
import type { ErrorCode } from '@swarm/core/error-codes.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { parseJson } from '@swarm/core/json.ts'
import type { Secret } from '@swarm/core/secret.ts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Context } from '../../context.ts'
import { newId } from '../../ids.ts'
import { readGithubUser, type GithubApp } from './github.ts'
import { hashPassword, verifyPassword } from './passwords.ts'
import { accountStorage, type StorageReactions } from './storage.ts'

/*
 * better-auth does what is easy to get wrong: sessions, second factors, OAuth, device codes. It has no routes of its own here: each of our
 * endpoints calls one function of its API, hands its cookies on and gives its errors our codes (decision 0019).
 */

const DAY_S = 86_400
/** Browsers keep a cookie no longer; when the session ends, its row says. */
const COOKIE_MAX_AGE_S = 400 * DAY_S
const ADDRESS_HEADER = 'x-swarm-address'
const CODES: Readonly<Record<string, ErrorCode>> = {
  INVALID_EMAIL_OR_PASSWORD: 'sign_in_failed', INVALID_EMAIL: 'sign_in_failed', INVALID_PASSWORD: 'password_wrong', ACCOUNT_DISABLED: 'account_disabled',
  INVALID_CODE: 'code_invalid', INVALID_BACKUP_CODE: 'code_invalid', INVALID_TWO_FACTOR_COOKIE: 'code_invalid', TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE: 'code_invalid',
  authorization_pending: 'device_pending', slow_down: 'device_slow_down', access_denied: 'device_denied',
  expired_token: 'device_code_invalid', invalid_grant: 'device_code_invalid', invalid_request: 'device_code_invalid',
}
const TWO_FACTOR_STATES: Readonly<Record<string, string>> = { TOTP_ALREADY_ENABLED: 'on already', TOTP_NOT_ENABLED: 'not on', TWO_FACTOR_NOT_ENABLED: 'not on', BACKUP_CODES_NOT_ENABLED: 'not on' }
const Problem = z.object({ code: z.string().optional(), error: z.string().optional(), message: z.string().optional() })

interface EngineOptions { readonly baseUrl: string; readonly secret: Secret; readonly sessionDays: number; readonly github: GithubApp | null; readonly reactions: StorageReactions; readonly mayRegister: (email: string) => Promise<boolean>; readonly isDisabled: (userId: string) => Promise<boolean> }

function makeAuth({ db, logger }: Pick<Context, 'db' | 'logger'>, options: EngineOptions) {
  const { baseUrl, github } = options
  const log = logger.child({ part: 'better-auth' })
  return betterAuth({
    appName: 'Swarm', baseURL: baseUrl, basePath: '/api/auth', secret: options.secret.reveal(), trustedOrigins: [baseUrl], telemetry: { enabled: false }, rateLimit: { enabled: false },
    // Its words may name people: they are for whoever looks for a fault.
    logger: { log: (level, message) => { log.debug({ level }, message) } },
    onAPIError: { errorURL: `${baseUrl}/sign-in` },
    database: accountStorage(db, options.reactions),
    emailAndPassword: { enabled: true, disableSignUp: true, minPasswordLength: 1, maxPasswordLength: 200, password: { hash: hashPassword, verify: ({ hash, password }) => verifyPassword(hash, password) } },
    session: { expiresIn: options.sessionDays * DAY_S, disableSessionRefresh: true },
    account: { updateAccountOnSignIn: false },
    verification: { storeIdentifier: 'hashed' },
    databaseHooks: {
      user: { create: { before: async ({ email }) => await options.mayRegister(email.toLowerCase()) } },
      session: { create: { before: async ({ userId }) => { if (await options.isDisabled(userId)) throw new DomainError('account_disabled') } } },
    },
    advanced: {
      cookiePrefix: 'swarm', useSecureCookies: baseUrl.startsWith('https:'), defaultCookieAttributes: { httpOnly: true, sameSite: 'lax', path: '/' }, ipAddress: { ipAddressHeaders: [ADDRESS_HEADER] },
      // http/authenticate.ts asks every request with a cookie where it came from.
      disableCSRFCheck: true, disableOriginCheck: true, database: { generateId: ({ model }) => (model === 'user' ? newId('user') : newId('login')) },
    },
    plugins: [
      bearer(), twoFactor({ issuer: 'Swarm' }), deviceAuthorization({ expiresIn: '15m', interval: '5s', verificationUri: `${baseUrl}/device`, validateClient: (id) => id === DEVICE_CLIENT }),
      ...(github === null ? [] : [genericOAuth({ config: [{
        providerId: 'github', clientId: github.clientId, clientSecret: github.clientSecret.reveal(), authorizationUrl: `${github.baseUrl}/login/oauth/authorize`, tokenUrl: `${github.baseUrl}/login/oauth/access_token`,
        scopes: ['read:user', 'user:email'], pkce: true, getUserInfo: (tokens) => readGithubUser(github, tokens.accessToken ?? ''),
      }] })]),
    ],
  })
}

type Api = ReturnType<typeof makeAuth>['api']

export interface Engine {
  readonly api: Api
  /**
   * Calls one function of better-auth for a request of ours: its cookies go to the reply, its errors become ours.
   * @returns its answer, and where it sends the browser
   */
  call<S extends z.ZodType>(request: Pick<FastifyRequest, 'headers' | 'ip'>, reply: FastifyReply, answer: S, fn: (api: Api, headers: Headers) => Promise<Response>): Promise<{ body: z.output<S>; location: string | null }>
}

export function createEngine(context: Pick<Context, 'db' | 'logger'>, options: EngineOptions): Engine {
  const { api } = makeAuth(context, options)
  return {
    api,
    async call(request, reply, answer, fn) {
      const { cookie, authorization } = request.headers
      const response = await fn(api, new Headers({
        [ADDRESS_HEADER]: request.ip, 'user-agent': (request.headers['user-agent'] ?? '').slice(0, 300), ...(cookie === undefined ? {} : { cookie }), ...(authorization === undefined ? {} : { authorization }),
      }))
      const text = await response.text()
      const cookies = response.headers.getSetCookie().map(kept)
      if (cookies.length > 0) reply.header('set-cookie', cookies)
      if (response.status >= 400) throw problemOf(response, text)
      return { body: answer.parse(text === '' ? undefined : parseJson(text)), location: response.headers.get('location') }
    },
  }
}

/** The cookie of a session stays for as long as the session may. */
function kept(cookie: string): string {
  return /session_token=[^;]/.test(cookie) ? cookie.replace(/Max-Age=[1-9]\d*/, `Max-Age=${COOKIE_MAX_AGE_S}`) : cookie
}

function problemOf(response: Response, text: string): Error {
  const problem = Problem.safeParse(parseJson(text)).data ?? {}
  const name = problem.code ?? problem.error ?? ''
  const state = TWO_FACTOR_STATES[name]
  if (state !== undefined) return new DomainError('two_factor_state', { state })
  if (response.status === 429) return new DomainError('too_many_tries', { retryAfterSeconds: 900 })
  const code = CODES[name]
  if (code !== undefined) return new DomainError(code)
  if (response.status === 401) return new DomainError('unauthenticated')
  return new Error(`better-auth answered ${response.status} ${name} ${problem.message ?? ''}`)
}
