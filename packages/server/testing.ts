import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createClient, type Client } from '@swarm/contract/client.ts'
import { resolveSettings } from '@swarm/contract/config.ts'
import { createServer, type Server } from './app.ts'
import type { Context, Feature } from './context.ts'
import type { TestDatabase } from './db/testing.ts'
import { createLogger } from './logger.ts'

export interface TestServer extends AsyncDisposable {
  readonly server: Server
  readonly context: Context
  readonly url: string
  readonly adminToken: string
  /** Calls as the first admin. */
  readonly admin: Client
  /** Calls with another token, or with none. */
  as(token?: string): Client
  /** Log lines so far, parsed. */
  readonly log: Record<string, unknown>[]
}

/** The whole server on a free port over a test's database (db/testing.ts `eachDialect`), with strict units and generous limits. */
export async function startTestServer(place: TestDatabase, options: { settings?: Record<string, unknown>, shipped?: readonly Feature[], features?: readonly Feature[] } = {}): Promise<TestServer> {
  const log: Record<string, unknown>[] = []
  const { config, sources } = resolveSettings({
    env: {}, userFolder: place.home,
    argv: {
      home: place.home, cache: join(place.home, 'cache'), port: 0, 'http.ratePerMinute.anonymous': 1_000_000, 'http.ratePerMinute.admin': 1_000_000, 'http.ratePerMinute.userWrite': 1_000_000,
      ...(place.databaseUrl === undefined ? {} : { databaseUrl: place.databaseUrl }), ...options.settings,
    },
  })
  const logger = createLogger('debug', { write: (line) => { log.push(JSON.parse(line) as Record<string, unknown>) } })
  const server = await createServer(config, { logger, sources, strictUnits: true, ...(options.shipped === undefined ? {} : { shipped: options.shipped }), features: options.features ?? [] })
  const url = await server.listen()
  const adminToken = readFileSync(join(place.home, 'admin-token'), 'utf8').trim()
  const as = (token?: string): Client => createClient({ baseUrl: url, ...(token === undefined ? {} : { token }) })
  return { server, context: server.context, url, adminToken, admin: as(adminToken), as, log, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}
