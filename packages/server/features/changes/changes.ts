import { diffChange, listChanges, pauseMergeQueue, resumeMergeQueue, showChange, showMergeQueue, type Change, type MergeBatch, type MergeEntry, type MergeQueue } from '@swarm/contract/endpoints/changes.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { suspectsOf } from '@swarm/core/merge/batches.ts'
import { git } from '@swarm/git/run.ts'
import type { Duty } from '../../coordinator/duty.ts'
import { signal } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { byCreation, page, readPosition } from '../../http/pages.ts'
import { register, type HttpTarget } from '../../http/register.ts'
import { mergeDecisions } from './decisions.ts'
import type { ChangeDependencies } from './dependencies.ts'
import { mergeQueueDuty } from './merge-queue.ts'
import { offerAgain } from './offer-again.ts'
import { branchDuty, fileFigures } from './publish.ts'
import { entryOf, lastRedBatch, latestBatches, liveEntries, membersOf, queueState, setQueue, type BatchRow, type EntryRow } from './merge-queries.ts'
import { changeById, changePage, type ChangeRow } from './queries.ts'
import { gateDuty, verdictDuty } from './verification.ts'

/** The diff's text above this is cut. */
const MAX_PATCH_BYTES = 4 * 1024 * 1024
/** Batches that the queue shows, the latest. */
const SHOWN_BATCHES = 20

/**
 * From a handed-in attempt to main: gate, verdict of the checks, the change and its approval, the merge queue. Registers its
 * routes and its reaction to decisions about merges; the coordinator runs `duties`.
 */
export function createChanges(http: HttpTarget, deps: ChangeDependencies): { readonly duties: readonly Duty[]; readonly offerAgain: ReturnType<typeof offerAgain> } {
  const { db } = deps
  deps.approvals.onDecision('merge', mergeDecisions(deps))
  const find = async (id: string) => {
    const change = await changeById(db.read, id)
    if (!change) throw new DomainError('not_found', { kind: 'change', id })
    return change
  }
  const queue = async (repositoryId: string): Promise<MergeQueue> => {
    const entries = (await liveEntries(db.read, repositoryId)).map(presentEntry)
    const red = await lastRedBatch(db.read, repositoryId)
    return {
      repositoryId, pausedReason: (await queueState(db.read, repositoryId))?.paused_reason ?? null, entries,
      batches: (await latestBatches(db.read, repositoryId, SHOWN_BATCHES)).map(presentBatch),
      suspects: suspectsOf(entries, red ? membersOf(red) : []).map((entry) => entry.changeId),
    }
  }

  register(http, listChanges, async ({ query, projects }) => {
    return page(await changePage(db.read, { ...query, projects: await projects() }, readPosition(query.cursor), query.limit + 1), query.limit, present, byCreation)
  })
  register(http, showChange, async ({ params }) => {
    const change = await find(params.changeId)
    const entry = await entryOf(db.read, change.id)
    return { ...present(change), body: change.body, evidence: JSON.parse(change.evidence) as unknown, merge: entry ? presentEntry(entry) : null }
  })
  register(http, diffChange, async ({ params }) => {
    const change = await find(params.changeId)
    const { path } = await deps.locate(change.repository_id)
    const files = await fileFigures(path, change.base_sha, change.head_sha)
    const whole = (await git(path, ['diff-tree', '-r', '-p', '-M', '--no-color', '--no-ext-diff', '--no-textconv', change.base_sha, change.head_sha])).bytes
    return { baseSha: change.base_sha, headSha: change.head_sha, files, patch: whole.subarray(0, MAX_PATCH_BYTES).toString('utf8'), truncated: whole.length > MAX_PATCH_BYTES }
  })
  register(http, showMergeQueue, async ({ params }) => {
    await deps.locate(params.repositoryId)
    return await queue(params.repositoryId)
  })
  register(http, pauseMergeQueue, async ({ params, body, principal, correlationId }) => {
    const { projectId } = await deps.locate(params.repositoryId)
    await db.write(async (trx) => {
      await setQueue(trx, params.repositoryId, body.reason, deps.now())
      await appendEvents(trx, [{ type: 'queue:paused', projectId, subject: { kind: 'repository', id: params.repositoryId }, correlationId, data: { reason: body.reason, by: `${principal.kind} ${principal.id}` } }])
    })
    return await queue(params.repositoryId)
  })
  register(http, resumeMergeQueue, async ({ params, principal, correlationId }) => {
    const { projectId } = await deps.locate(params.repositoryId)
    await db.write(async (trx) => {
      if (((await queueState(trx, params.repositoryId))?.paused_reason ?? null) === null) throw new DomainError('queue_not_paused', { repository: params.repositoryId })
      await setQueue(trx, params.repositoryId, null, deps.now())
      await appendEvents(trx, [{ type: 'queue:resumed', projectId, subject: { kind: 'repository', id: params.repositoryId }, correlationId, data: { by: `${principal.kind} ${principal.id}` } }])
      signal(trx, 'work')
    })
    return await queue(params.repositoryId)
  })
  return { duties: [gateDuty(deps), verdictDuty(deps), branchDuty(deps), mergeQueueDuty(deps)], offerAgain: offerAgain(deps) }
}

function present(row: ChangeRow): Change {
  return {
    id: row.id, projectId: row.project_id, repositoryId: row.repository_id, ticketId: row.ticket_id, branch: row.branch, title: row.title, state: row.state as Change['state'],
    baseSha: row.base_sha, headSha: row.head_sha, mergedSha: row.merged_sha, createdAt: row.created_at, updatedAt: row.updated_at,
  }
}
function presentEntry(row: EntryRow): MergeEntry {
  return {
    changeId: row.change_id, ticketId: row.ticket_id, headSha: row.head_sha, state: row.state as MergeEntry['state'], batchId: row.batch_id, baseSha: row.base_sha, candidateSha: row.candidate_sha,
    checkId: row.check_id, losses: row.losses, reason: row.reason, updatedAt: row.updated_at,
  }
}
function presentBatch(row: BatchRow): MergeBatch {
  return {
    id: row.id, state: row.state as MergeBatch['state'], baseSha: row.base_sha, headSha: row.head_sha, members: membersOf(row), checkId: row.check_id,
    reason: row.reason, createdAt: row.created_at, endedAt: row.ended_at,
  }
}
