import { createHash } from 'node:crypto'
import { PassThrough } from 'node:stream'
import Anthropic from '@anthropic-ai/sdk'
import type { Database } from '@swarm/server/db/database.ts'
import type { TestDatabase } from '@swarm/server/db/testing.ts'
import { askOnBreach } from '@swarm/server/features/model/breach.ts'
import { createModelGateway, type GatewayOptions, type ModelGateway } from '@swarm/server/features/model/gateway.ts'
import { createModelMetrics } from '@swarm/server/features/model/model-metrics.ts'
import { rehearsalProvider } from '@swarm/server/features/model/providers.ts'
import { addModelRoutes } from '@swarm/server/features/model/routes.ts'
import { createHttp, type Http } from '@swarm/server/http/http.ts'
import { mintToken } from '@swarm/server/http/tokens.ts'
import { createLogger } from '@swarm/server/logger.ts'
import { createMetrics } from '@swarm/server/metrics.ts'
import type { ApprovalRequest } from '@swarm/server/ports.ts'
import { parseScript } from './script.ts'
import { startRehearsal, type Rehearsal } from './server.ts'

/* A gateway over a test's database and a rehearsal that plays a script, for the tests of both. */

export const MODEL = 'claude-opus-4-8'
const UNLIMITED = { userWrite: 1_000_000, user: 1e9, admin: 100_000, runner: 100_000, attempt: 100_000, check: 100_000, live: 100_000, anonymous: 100_000 }

export interface World extends AsyncDisposable {
  db: Database; rehearsal: Rehearsal; gateway: ModelGateway; http: Http; url: string
  client: Anthropic; token: string; blobs: Map<string, Uint8Array>; log: () => string; metrics: () => Promise<string>; asked: ApprovalRequest[]
  /** The events so far, of these types or of all. From the table: readers of the log wait for older transactions, those of other tests on the same PostgreSQL too. */
  events: (...types: string[]) => Promise<{ subjectId: string; correlationId: string; data: Record<string, unknown> }[]>
}

/** A session with a ceiling, one ticket and its running attempt. */
async function seed(db: Database, cap: number | null): Promise<string> {
  return db.write(async (trx) => {
    const now = Date.now()
    await trx.insertInto('projects').values({ id: 'PRJ-1', slug: 'p', name: 'P', settings: '{}', created_at: now }).execute()
    await trx.insertInto('repositories').values({ id: 'REP-1', project_id: 'PRJ-1', slug: 'r', default_branch: 'main', origin: null, created_at: now }).execute()
    await trx.insertInto('design_sessions').values({
      id: 'SES-1', project_id: 'PRJ-1', repository_id: 'REP-1', title: 'S', state: 'building', base_sha: 'a'.repeat(40), spec_version: 1, plan: null, plan_hash: null,
      max_cost_micro_usd: cap, token_cap: 4_000, model_label: 'rehearsal', failure: null, correlation_id: 'corr-1', created_at: now, updated_at: now,
    }).execute()
    await trx.insertInto('tickets').values({
      id: 'TKT-1', project_id: 'PRJ-1', repository_id: 'REP-1', session_id: 'SES-1', key: 'scoring', title: 'Score – rounds', description: '', acceptance: '[]', scope: '[]', requirements: '[]',
      predicted_files: '[]', agent_name: 'developer', state: 'in_progress', hold_reason: null, priority: 0, wave: 0, story_points: 1, fence: 3, attempt_count: 2, failure_counts: '{}', evidence: '[]',
      retry_at: null, branch: 'swarm/scoring', head_sha: null, ready_at: now, created_at: now, updated_at: now,
    }).execute()
    await trx.insertInto('attempts').values({
      id: 'ATT-1', ticket_id: 'TKT-1', project_id: 'PRJ-1', number: 2, fence: 3, state: 'running', agent_name: 'developer', agent_version: 1, runner_id: null, claim_key: null, vm_id: null,
      correlation_id: 'corr-attempt', base_sha: 'a'.repeat(40), start_sha: 'a'.repeat(40), head_sha: null, wip_sha: null, summary: null, lease_expires_at: null, deadline_at: now + 600_000,
      activity_at: null, status_sequence: 0, failure_class: null, failure_reason: null, failure_message: null, evidence: null, gate: null, created_at: now, ended_at: null,
    }).execute()
    return (await mintToken(trx, { kind: 'attempt', subjectId: 'ATT-1', fence: 3 })).token
  })
}

export async function world(place: TestDatabase, scenes: string, options: { cap?: number | null; gateway?: Partial<GatewayOptions> } = {}): Promise<World> {
  const stack = new AsyncDisposableStack()
  const db = stack.use(await place.open())
  const rehearsal = stack.use(await startRehearsal({ script: parseScript(`version: 1\nscenes:\n${scenes}`, { file: 'play.yaml', folder: '.' }) }))
  const token = await seed(db, options.cap === undefined ? null : options.cap)
  const lines: string[] = []
  const sink = new PassThrough().on('data', (chunk: Buffer) => lines.push(chunk.toString()))
  const logger = createLogger('info', sink)
  const metrics = createMetrics()
  const blobs = new Map<string, Uint8Array>()
  const asked: ApprovalRequest[] = []
  const gateway = createModelGateway({
    db, provider: rehearsalProvider(rehearsal.url), log: logger, metrics: createModelMetrics(metrics.registry), backoffMs: 5,
    keepBlob: async (bytes) => {
      const digest = createHash('sha256').update(bytes).digest('hex')
      blobs.set(digest, Buffer.from(bytes))
      return digest
    },
    onBreach: askOnBreach({ request: async (_trx, request) => { asked.push(request); return 'APR-1' } }),
    ...options.gateway,
  })
  const http = stack.use(await createHttp({ host: '127.0.0.1', port: 0, rateLimits: UNLIMITED, bodyLimitBytes: 1 << 20, trustedProxies: [], version: '0', closeDeadlineMs: 1_000 }, { db, logger, metrics }))
  addModelRoutes(http, gateway, async () => 'PRJ-1')
  const url = await http.listen()
  return {
    db, rehearsal, gateway, http, url, token, blobs, asked,
    events: async (...types) => {
      const rows = await db.read.selectFrom('events').select(['subject_id', 'correlation_id', 'data']).$if(types.length > 0, (query) => query.where('type', 'in', types)).orderBy('seq').execute()
      return rows.map((row) => ({ subjectId: row.subject_id, correlationId: row.correlation_id, data: JSON.parse(row.data) as Record<string, unknown> }))
    },
    client: new Anthropic({ baseURL: `${url}/model`, apiKey: null, authToken: token, maxRetries: 0 }),
    log: () => lines.join(''), metrics: () => metrics.registry.metrics(), [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
