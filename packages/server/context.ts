import type { IdKind } from '@swarm/core/ids.ts'
import type { BlobStore } from './blobs.ts'
import type { Authorization } from './authorization/authorization.ts'
import type { Config } from './config.ts'
import type { Database } from './db/database.ts'
import type { EventLog } from './events/log.ts'
import type { Http } from './http/http.ts'
import type { Logger } from './logger.ts'
import type { Metrics } from './metrics.ts'

/** What every feature is made from; put together by hand, handed to each `registerX(context)`. */
export interface Context {
  readonly config: Config
  /** Where each setting came from, by dotted path. */
  readonly sources: Readonly<Record<string, string>>
  readonly db: Database
  readonly events: EventLog
  readonly logger: Logger
  /** ms since the epoch. */
  readonly clock: () => number
  readonly http: Http
  readonly authorization: Authorization
  readonly blobs: BlobStore
  readonly metrics: Metrics
  readonly ids: (kind: IdKind) => string
  /** Aborts when the server stops, before its parts are closed. */
  readonly stopping: AbortSignal
}

/** Registers routes and starts what it needs; what it returns is disposed of when the server stops, last registered first. */
export type Feature = (context: Context) => void | Disposable | AsyncDisposable | Promise<void | Disposable | AsyncDisposable>
