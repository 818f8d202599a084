import type { BatchMember } from '@swarm/contract/endpoints/changes.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { refusalToLand, type Refusal } from '@swarm/core/merge/batches.ts'
import { json } from '../../db/json.ts'
import { signal, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { compareAndSetAll, isAncestor, readRef } from '../../integrations/builtin-code-host/bare.ts'
import type { ChangeDependencies, SealedPlan } from './dependencies.ts'
import { correlationOf, mergeEntry, moveEntry, returnEntry, cancelEntry, WAITING } from './merge-entries.ts'
import { endBatchRow, entriesOfBatch, entryOf, insertBatch, landingFacts, liveBatch, membersOf, type BatchRow, type EntryRow } from './merge-queries.ts'
import { touchedPaths } from './publish.ts'
import type { Db } from './queries.ts'
import { unlessMoved } from './verification.ts'

/** A repository, its main ref, and where that is now. */
export interface Place { readonly repositoryId: string; readonly projectId: string; readonly path: string; readonly main: string; readonly base: string }

/** The ref that permits a batch to land: made before the batch is recorded, gone when it has landed or will not. */
const permitOf = (batchId: string): string => `refs/swarm/batches/${batchId}`

/** Records a batch, its check run and its members in one unit. False when another replica was first. */
export async function startBatch(deps: ChangeDependencies, place: Place, members: readonly (BatchMember & { entry: EntryRow })[], candidate: { headSha: string; treeSha: string; plan: SealedPlan }): Promise<boolean> {
  const id = deps.makeId('batch')
  const { headSha, treeSha, plan } = candidate
  await compareAndSetAll(place.path, [{ ref: permitOf(id), sha: headSha, expected: null }])
  const started = await unlessMoved(() => deps.db.write(async (trx) => {
    const first = members[0]?.entry
    if (!first || await liveBatch(trx, place.repositoryId)) throw new DomainError('illegal_transition', { kind: 'merge queue', id: place.repositoryId, from: 'checking', to: 'checking' })
    const now = deps.now()
    const correlationId = await correlationOf(trx, first)
    const alone = members.length === 1 ? first : null
    const check = await deps.checks.enqueue(trx, {
      projectId: place.projectId, repositoryId: place.repositoryId, purpose: 'merge', changeId: alone?.change_id ?? null, ticketId: alone?.ticket_id ?? null,
      commitSha: headSha, treeSha, plan, correlationId,
    })
    for (const { entry } of members) {
      const taken = await moveEntry(trx, entry, 'checking', { batch_id: id, base_sha: place.base, candidate_sha: headSha, check_id: check.id, reason: null, updated_at: now }, correlationId)
      if (!taken) throw new DomainError('illegal_transition', { kind: 'merge entry', id: entry.change_id, from: entry.state, to: 'checking' })
    }
    const batch: BatchRow = {
      id, project_id: place.projectId, repository_id: place.repositoryId, state: 'checking', base_sha: place.base, head_sha: headSha,
      members: json(members.map(({ entry: _, ...member }) => member)), check_id: check.id, reason: null, correlation_id: correlationId, created_at: now, ended_at: null,
    }
    await insertBatch(trx, batch)
    await announce(trx, batch, 'checking', null)
  }))
  if (!started) await compareAndSetAll(place.path, [{ ref: permitOf(id), sha: null, expected: headSha }])
  return started
}

/** Members that may not land any more, with the reason; empty when all may. */
export async function refusalsOf(db: Db, batch: BatchRow): Promise<Map<string, Refusal>> {
  const members = membersOf(batch)
  const facts = await landingFacts(db, members.map((member) => member.changeId))
  return new Map(members.flatMap((member) => {
    const known = facts.get(member.changeId)
    const refusal = known ? refusalToLand(known) : { kind: 'left' as const, reason: 'the change is gone' }
    return refusal ? [[member.changeId, refusal] as const] : []
  }))
}

/**
 * Main moves to the candidate and the permit goes, in one transaction of git: of somebody who takes the batch apart at the
 * same time, exactly one wins. `moved`: main is elsewhere; `revoked`: somebody was faster to take it apart.
 */
export async function landBatch(place: Place, batch: BatchRow): Promise<'landed' | 'moved' | 'revoked'> {
  const landed = await compareAndSetAll(place.path, [
    { ref: place.main, sha: batch.head_sha, expected: batch.base_sha }, { ref: permitOf(batch.id), sha: null, expected: batch.head_sha },
  ])
  if (landed || await holds(place, batch)) return 'landed'
  return await readRef(place.path, place.main) === batch.base_sha ? 'revoked' : 'moved'
}

/** Whether main has the candidate, whatever was recorded about it. */
export async function holds(place: Place, batch: BatchRow): Promise<boolean> {
  const now = await readRef(place.path, place.main)
  return now !== null && await isAncestor(place.path, batch.head_sha, now)
}

/** Main holds the batch: each member is recorded in a unit of its own, the batch last. What a stop leaves out is done at the next run. */
export async function recordLanded(deps: ChangeDependencies, place: Place, batch: BatchRow): Promise<boolean> {
  // Git ends the permit with the move of main; one that it left when it was killed in between ends here.
  await compareAndSetAll(place.path, [{ ref: permitOf(batch.id), sha: null, expected: batch.head_sha }])
  for (const member of membersOf(batch)) {
    const paths = await touchedPaths(place.path, member.ontoSha, member.tipSha)
    await unlessMoved(() => deps.db.write(async (trx) => {
      const entry = await entryOf(trx, member.changeId)
      if (entry?.state !== 'checking' || entry.batch_id !== batch.id) return
      await mergeEntry(trx, deps, entry, { sha: batch.head_sha, baseSha: batch.base_sha, tipSha: member.tipSha, checkId: batch.check_id, batchId: batch.id, paths })
    }))
  }
  // While a member is open (another writer was faster) the batch stays, and is taken up again when that one's commit wakes us.
  return await deps.db.write(async (trx) => (await entriesOfBatch(trx, batch.id)).length === 0 && await end(trx, deps, batch, 'landed', null))
}

export interface Ending {
  readonly to: 'red' | 'dissolved'
  readonly reason: string
  /** What becomes of a member; true when it was dealt with, else it waits again with this added. */
  readonly member?: (trx: Trx, entry: EntryRow) => Promise<boolean>
  readonly waiting?: (entry: EntryRow) => { losses?: number; reason?: string | null }
  /** In the same unit. */
  readonly also?: (trx: Trx) => Promise<void>
}

/** The batch will not land: first git says so, then the database. When it has landed after all, that is recorded instead. */
export async function takeApart(deps: ChangeDependencies, place: Place, batch: BatchRow, ending: Ending): Promise<boolean> {
  const revoked = await compareAndSetAll(place.path, [{ ref: permitOf(batch.id), sha: null, expected: batch.head_sha }])
  if (!revoked && await holds(place, batch)) return await recordLanded(deps, place, batch)
  return await unlessMoved(() => deps.db.write(async (trx) => {
    const entries = await entriesOfBatch(trx, batch.id)
    if (!await end(trx, deps, batch, ending.to, ending.reason)) return
    for (const entry of entries) {
      if (await ending.member?.(trx, entry)) continue
      await moveEntry(trx, entry, 'queued', { ...WAITING, ...ending.waiting?.(entry), updated_at: deps.now() }, batch.correlation_id)
    }
    await deps.checks.cancel(trx, batch.check_id, ending.reason)
    await ending.also?.(trx)
  }))
}

/** What a refusal means for its entry. */
export async function refuse(trx: Trx, deps: ChangeDependencies, entry: EntryRow, refusal: Refusal): Promise<boolean> {
  if (refusal.kind === 'left') return await cancelEntry(trx, deps, entry, refusal.reason)
  return await returnEntry(trx, deps, entry, { failureClass: 'policy', reason: refusal.reason, parts: {} })
}

async function end(trx: Trx, deps: ChangeDependencies, batch: BatchRow, to: 'landed' | 'red' | 'dissolved', reason: string | null): Promise<boolean> {
  if (!await endBatchRow(trx, batch, to, { reason, ended_at: deps.now() })) return false
  await announce(trx, { ...batch, state: to, reason }, to, 'checking')
  return true
}

async function announce(trx: Trx, batch: BatchRow, to: string, from: string | null): Promise<void> {
  await appendEvents(trx, [{
    type: 'batch:update', projectId: batch.project_id, subject: { kind: 'batch', id: batch.id }, correlationId: batch.correlation_id,
    data: { repositoryId: batch.repository_id, from, to, baseSha: batch.base_sha, headSha: batch.head_sha, checkId: batch.check_id, members: membersOf(batch), reason: batch.reason },
  }])
  signal(trx, 'work')
}
