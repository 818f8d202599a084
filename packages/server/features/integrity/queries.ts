import { createHash } from 'node:crypto'
import type { CallFact, EventFact, Facts } from '@swarm/core/integrity/facts.ts'
import type { Read } from '../../db/database.ts'

/** Events read at a time. */
const PAGE = 2_000

export interface Place { readonly id: string; readonly branch: string; readonly projectSlug: string; readonly slug: string }

/** Where the repositories are. */
export async function readPlaces(db: Read): Promise<Place[]> {
  return db.selectFrom('repositories').innerJoin('projects', 'projects.id', 'repositories.project_id').select(['repositories.id', 'repositories.default_branch as branch', 'projects.slug as projectSlug', 'repositories.slug']).orderBy('repositories.id').execute()
}

type Rows = Omit<Facts, 'repositories' | 'served' | 'host' | 'asOf' | 'now' | 'settled'> & {
  readonly places: readonly Place[]
  /** The newest trace that a server left: an event, or a runner that it heard. */
  readonly lastTraceAt: number
}

/** All rows that the rules look at, as they are in this transaction. @param ownerAlive whether the process behind a mark of model_calls.owner lives */
export async function readRows(db: Read, ownerAlive: (owner: string) => boolean): Promise<Rows> {
  const tickets = await db.selectFrom('tickets').select(['id', 'repository_id as repositoryId', 'state', 'hold_reason as holdReason', 'fence', 'attempt_count as attemptCount', 'branch', 'updated_at as updatedAt']).orderBy('id').execute()
  const dependencies = await db.selectFrom('ticket_dependencies').select(['ticket_id as ticketId', 'depends_on_id as dependsOnId']).execute()
  const attempts = await db.selectFrom('attempts').select([
    'id', 'ticket_id as ticketId', 'number', 'fence', 'state', 'runner_id as runnerId', 'head_sha as headSha', 'wip_sha as wipSha', 'lease_expires_at as leaseExpiresAt', 'ended_at as endedAt', 'failure_reason as failureReason', 'stop_reason as stopReason',
  ]).orderBy('id').execute()
  const steps = await db.selectFrom('attempt_steps').select(['attempt_id as attemptId', 'step', 'state']).orderBy('at').execute()
  const questions = (await db.selectFrom('questions').select(['id', 'attempt_id as attemptId', 'answer']).execute()).map(({ answer, ...row }) => ({ ...row, answered: answer !== null }))
  const changes = await db.selectFrom('changes').select(['id', 'ticket_id as ticketId', 'repository_id as repositoryId', 'branch', 'state', 'head_sha as headSha', 'merged_sha as mergedSha', 'updated_at as updatedAt']).orderBy('id').execute()
  const approvals = (await db.selectFrom('approvals').select([
    'id', 'kind', 'subject_kind as subjectKind', 'subject_id as subjectId', 'status', 'payload', 'payload_hash as payloadHash', 'used_at as usedAt', 'created_at as createdAt',
  ]).orderBy('id').execute()).map((row) => ({ ...row, payload: parsed(row.payload), payloadDigest: createHash('sha256').update(row.payload).digest('hex') }))
  const entries = await db.selectFrom('merge_entries').select(['change_id as changeId', 'ticket_id as ticketId', 'state', 'head_sha as headSha', 'approval_id as approvalId', 'check_id as checkId', 'created_at as createdAt']).execute()
  const reviewing = (await db.selectFrom('agent_reviews').innerJoin('changes', 'changes.id', 'agent_reviews.change_id').select('change_id').where('agent_reviews.state', '=', 'pending').whereRef('agent_reviews.head_sha', '=', 'changes.head_sha').execute()).map((row) => row.change_id)
  const batches = await db.selectFrom('merge_batches').select(['id', 'repository_id as repositoryId', 'state', 'head_sha as headSha', 'check_id as checkId']).orderBy('id').execute()
  const checks = (await db.selectFrom('check_runs').select([
    'id', 'repository_id as repositoryId', 'purpose', 'attempt_id as attemptId', 'tree_sha as treeSha', 'plan_digest as planDigest', 'state', 'results', 'lease_expires_at as leaseExpiresAt', 'ended_at as endedAt',
  ]).orderBy('id').execute()).map(({ results, ...row }) => ({ ...row, reusedFrom: reusedFrom(results) }))
  const calls: CallFact[] = (await db.selectFrom('model_calls').select([
    'id', 'project_id as projectId', 'session_id as sessionId', 'attempt_id as attemptId', 'model', 'state', 'estimated', 'reserved_micro_usd as reservedMicroUsd', 'cost_micro_usd as costMicroUsd',
    'input_tokens as inputTokens', 'output_tokens as outputTokens', 'cache_read_tokens as cacheReadTokens', 'cache_write_tokens as cacheWriteTokens', 'owner', 'created_at as createdAt',
  ]).orderBy('id').execute()).map((row) => ({ ...row, estimated: row.estimated === 1, ownerAlive: row.state === 'open' && ownerAlive(row.owner) }))
  const vms = await db.selectFrom('vms').select(['id', 'runner_id as runnerId', 'work_kind as workKind', 'work_id as workId', 'state']).orderBy('id').execute()
  const runners = await db.selectFrom('runners').select(['id', 'seen_at as seenAt']).execute()
  const sessions = await db.selectFrom('design_sessions').select(['id', 'state', 'max_cost_micro_usd as maxCostMicroUsd']).execute()
  const projects = (await db.selectFrom('projects').select(['id', 'settings']).execute()).map(({ id, settings }) => ({ id, settings: parsed(settings) as Record<string, unknown> | null ?? {} }))
  const places = await readPlaces(db)
  const last = await db.selectFrom('events').select('at').orderBy('seq', 'desc').limit(1).executeTakeFirst()
  const mark = await db.selectFrom('meta').select('value').where('key', '=', 'events_complete_since').executeTakeFirst()
  return {
    tickets, dependencies, attempts, steps, questions, changes, approvals, entries, batches, reviewing, checks, calls, vms, runners, sessions, projects, places,
    completeSince: Number(mark?.value ?? 0), lastTraceAt: Math.max(last?.at ?? 0, ...runners.map(({ seenAt }) => seenAt ?? 0)),
  }
}

/** The whole log in the order of `seq`: per row that is the order of its changes on both databases, since its number is drawn under the row's lock. */
export async function* eventsInOrder(db: Read, types?: readonly string[]): AsyncGenerator<EventFact, void, undefined> {
  for (let after = 0; ;) {
    let query = db.selectFrom('events').select(['seq', 'type', 'subject_kind as subjectKind', 'subject_id as subjectId', 'data', 'at']).where('seq', '>', after).orderBy('seq').limit(PAGE)
    if (types) query = query.where('type', 'in', types)
    const rows = await query.execute()
    for (const row of rows) yield { ...row, data: JSON.parse(row.data) as Record<string, unknown> }
    const last = rows.at(-1)
    if (!last || rows.length < PAGE) return
    after = last.seq
  }
}

/** As features/checks stores it in `results`. */
function reusedFrom(results: string | null): string | null {
  const id = (parsed(results ?? '{}') as { reusedFrom?: unknown } | null)?.reusedFrom
  return typeof id === 'string' ? id : null
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null // its digest differs from its hash then, which is what gets reported
  }
}
