import { health } from '@swarm/contract/endpoints/system.ts'
import { DomainError } from '@swarm/core/errors.ts'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import websocket from '@fastify/websocket'
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import { CORRELATION_ID, makeCorrelationId } from '../correlation.ts'
import type { Database } from '../db/database.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import { createAuthorization, type Authorization } from '../authorization/authorization.ts'
import { addAuthentication, type RateLimits, type UserDoor } from './authenticate.ts'
import { addAuthorization } from './authorize.ts'
import { sendError } from './error-mapper.ts'
import { newId } from '../ids.ts'
import { addIdempotency } from './idempotency.ts'
import { addOpenApi } from './openapi.ts'
import { register, type HttpTarget } from './register.ts'

export interface HttpConfig {
  readonly host: string
  /** 0 lets the system choose. */
  readonly port: number
  readonly rateLimits: RateLimits
  readonly bodyLimitBytes: number
  /** Addresses or ranges of front proxies whose X-Forwarded-* is believed. */
  readonly trustedProxies: readonly string[]
  readonly version: string
  /** Address under which people reach this server; its own unless given. */
  readonly publicUrl?: string | undefined
  /** Requests that still run this long after the close began are cut, ms. */
  readonly closeDeadlineMs: number
}

export interface RegisteredRoute { readonly method: string, readonly url: string }

export interface Http extends AsyncDisposable, UserDoor {
  readonly app: FastifyInstance
  readonly authorization: Authorization
  /** Every route that was registered, each method by itself, HEAD included. */
  readonly routes: readonly RegisteredRoute[]
  /** Address under which people reach this server, without a slash at its end. */
  publicUrl(): string
  /** Something that `listen` waits for once the port is known. */
  whenListening(act: () => Promise<void>): void
  /** Starts to listen. @returns the URL. @throws DomainError `port_in_use` */
  listen(): Promise<string>
}

/** Long polls wait up to 30 s: idle connections outlive them, and those of common front proxies (60 s). */
const KEEP_ALIVE_MS = 75_000
/** A push or a large body may take minutes to arrive; headers may not. */
const REQUEST_TIMEOUT_MS = 300_000
const HEADERS_TIMEOUT_MS = 20_000

export async function createHttp(config: HttpConfig, deps: { db: Database, logger: Logger, metrics: Metrics }): Promise<Http> {
  const { db, metrics } = deps
  const authorization = createAuthorization({ db, now: Date.now, makeId: newId })
  const closing = new AbortController()
  const app = Fastify({
    loggerInstance: deps.logger as FastifyBaseLogger,
    // One line a request, written below with the route's pattern instead of its path.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'correlationId' }),
    genReqId: ({ headers: { 'x-correlation-id': given } }) => typeof given === 'string' && CORRELATION_ID.test(given) ? given : makeCorrelationId(),
    bodyLimit: config.bodyLimitBytes,
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: { headersTimeout: HEADERS_TIMEOUT_MS },
    forceCloseConnections: 'idle',
    trustProxy: config.trustedProxies.length > 0 ? [...config.trustedProxies] : false,
    // As long as headers may be: what is too long for an id is refused where it is read, after the caller is known.
    routerOptions: { maxParamLength: 16_384 },
    // An address that cannot be read, before any hook: a stranger learns nothing but that.
    frameworkErrors: (error, request, reply) => {
      const refusal = request.headers.authorization === undefined ? new DomainError('unauthenticated') : new DomainError('invalid_input', { field: 'the address', problem: error.message.slice(0, 200) })
      void sendError(refusal, request, reply, config.bodyLimitBytes)
    },
  }) as unknown as FastifyInstance

  const routes: RegisteredRoute[] = []
  app.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat()) routes.push({ method: each, url })
  })
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.decorateRequest('principal', null as never)
  app.decorateRequest('gone', null as never)
  app.decorateRequest('auditId', null)
  app.decorateRequest('resource', null)

  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-correlation-id', request.id)
    const left = new AbortController()
    reply.raw.once('close', () => { if (!reply.raw.writableFinished) left.abort() })
    request.gone = AbortSignal.any([left.signal, closing.signal])
  })
  await app.register(helmet, { contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': null } } })
  await app.register(rateLimit, { global: false })
  // Before authentication: its hooks close the sockets of refused upgrades, which nobody else would.
  await app.register(websocket, { options: { maxPayload: 64 * 1024 } })
  const users: UserDoor = {}
  const onceListening: (() => Promise<void>)[] = []
  addAuthentication(app, db, config.rateLimits, users, config.publicUrl)
  const audit = addAuthorization(app, db, authorization)
  addIdempotency(app, db)

  app.setErrorHandler((error, request, reply) => sendError(error, request, reply, request.routeOptions.bodyLimit ?? config.bodyLimitBytes))
  app.setNotFoundHandler((request) => {
    throw new DomainError('route_not_found', { method: request.method, path: request.url.split('?')[0] })
  })
  app.addHook('onResponse', async (request, reply) => {
    const route = request.is404 ? 'unknown' : request.routeOptions.url ?? 'unknown'
    metrics.httpSeconds.observe({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1000)
    request.log.info({ method: request.method, route, status: reply.statusCode, durationMs: Math.round(reply.elapsedTime), principal: request.principal?.kind }, 'request')
  })

  app.addHook('onRequestAbort', async (request) => {
    request.log.info({ method: request.method, route: request.routeOptions.url ?? 'unknown', principal: request.principal?.kind }, 'the client left before its answer')
  })

  await addOpenApi(app, config.version)
  addHealth({ app, authorization }, db, config.version)
  app.get('/metrics', { config: { access: ['person'], action: 'system:metrics', on: 'installation' } }, async (_, reply) => reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()))

  return {
    app,
    authorization,
    routes,
    get identifyUser() { return users.identifyUser },
    set identifyUser(identify) { users.identifyUser = identify },
    publicUrl: () => {
      if (config.publicUrl !== undefined) return config.publicUrl.replace(/\/+$/, '')
      const address = app.server.address()
      const port = typeof address === 'object' && address !== null ? address.port : config.port
      const host = ['0.0.0.0', '::'].includes(config.host) ? 'localhost' : config.host
      return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
    },
    whenListening: (act) => { onceListening.push(act) },
    listen: async () => {
      try {
        const url = await app.listen({ host: config.host, port: config.port })
        for (const act of onceListening) await act()
        return url
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') throw new DomainError('port_in_use', { port: config.port, host: config.host }, { cause: error })
        throw error
      }
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort()
      const deadline = setTimeout(() => app.server.closeAllConnections(), config.closeDeadlineMs)
      await app.close()
      clearTimeout(deadline)
      await audit.written()
    },
  }
}

function addHealth(http: HttpTarget, db: Database, version: string): void {
  register(http, health, async () => {
    const startedAt = performance.now()
    const migrations = await db.migrations().catch((error: unknown) => {
      throw new DomainError('database_unavailable', { problem: error instanceof Error ? error.message : String(error) }, { cause: error })
    })
    return {
      status: 'ok' as const, version, uptimeMs: Math.round(process.uptime() * 1000),
      database: { dialect: db.dialect, migration: migrations.at(-1) ?? '', pingMs: Math.round((performance.now() - startedAt) * 10) / 10 },
    }
  })
}
