import { join } from 'node:path'
import { createBlobFolder } from './integrations/blobs-folder.ts'
import type { Config } from './config.ts'
import type { Context, Feature } from './context.ts'
import { openDatabase } from './db/open.ts'
import { createEventLog } from './events/log.ts'
import { ensureAdminToken } from './http/admin-token.ts'
import { createHttp } from './http/http.ts'
import { newId } from './ids.ts'
import { registerLive } from './live/live.ts'
import { createLogger, logDestination, type Logger } from './logger.ts'
import { createMetrics } from './metrics.ts'
import { startPlatform } from './platform.ts'
import { VERSION } from './version.ts'

/** Every feature of the server, in the order in which they start. */
const FEATURES: readonly Feature[] = [
  registerLive,
  startPlatform,
]

export interface ServerOptions {
  /** Instead of the settings' destination. */
  readonly logger?: Logger
  readonly clock?: () => number
  /** Where each setting came from, to be shown; its default unless given. */
  readonly sources?: Readonly<Record<string, string>>
  /** Also measure this process (once per process). */
  readonly processMetrics?: boolean
  /** Tests: units that are slow or await something else fail. */
  readonly strictUnits?: boolean
  /** Tests: instead of the shipped ones. */
  readonly shipped?: readonly Feature[]
  /** After the shipped ones. */
  readonly features?: readonly Feature[]
}

export interface Server extends AsyncDisposable {
  readonly context: Context
  /** Starts to listen. @returns the URL. @throws DomainError `port_in_use` */
  listen(): Promise<string>
}

/**
 * Makes a whole server that does not listen yet. Disposing of it stops what it started, in reverse order: long polls are
 * told, running requests get until the deadline, queued units are committed, the database is closed.
 */
export async function createServer(config: Config, options: ServerOptions = {}): Promise<Server> {
  await using started = new AsyncDisposableStack()
  const logger = options.logger ?? createLogger(config.logLevel, logDestination(config.logTo === 'file' ? join(config.home, 'logs', 'server.log') : undefined, { maxBytes: config.retention.logMb * 1024 ** 2, files: config.retention.logFiles }))
  const metrics = createMetrics({ process: options.processMetrics ?? false })
  const db = started.use(await openDatabase({
    home: config.home, databaseUrl: config.databaseUrl?.reveal(), strictUnits: options.strictUnits ?? false,
    onSlowUnit: (unit) => {
      metrics.slowUnits.inc()
      logger.warn(unit, 'slow unit of writing')
    },
    onError: (err, what) => logger.error({ err }, what),
  }))
  const admin = await ensureAdminToken(db, config.home)
  if (admin === 'made') logger.info('made the first admin token; it is in the file admin-token of the home folder')
  if (admin === 'elsewhere') logger.warn('this home folder does not hold an admin token of this database')

  const clock = options.clock ?? Date.now
  const http = started.use(await createHttp({
    host: config.host, port: config.port, publicUrl: config.publicUrl, trustedProxies: config.trustedProxies, version: VERSION,
    bodyLimitBytes: config.http.bodyLimitBytes, closeDeadlineMs: config.http.closeDeadlineMs,
    rateLimits: { ...config.http.ratePerMinute, check: config.http.ratePerMinute.attempt, live: config.http.ratePerMinute.anonymous },
  }, { db, logger, metrics }))
  const stopping = new AbortController()
  const context: Context = {
    config, sources: options.sources ?? {}, db, logger, http, metrics, authorization: http.authorization, stopping: stopping.signal,
    events: createEventLog(db),
    blobs: await createBlobFolder(join(config.home, 'blobs')),
    clock,
    ids: newId,
  }
  for (const feature of [...options.shipped ?? FEATURES, ...options.features ?? []]) {
    const made = await feature(context)
    if (made && Symbol.asyncDispose in made) started.use(made)
    else if (made) started.use(made)
  }
  const running = started.move()
  return {
    context,
    listen: () => http.listen(),
    [Symbol.asyncDispose]: async () => {
      stopping.abort()
      await running.disposeAsync()
    },
  }
}
