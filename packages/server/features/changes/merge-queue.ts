import { DomainError } from '@swarm/core/errors.ts'
import { git } from '@swarm/git/run.ts'
import type { Duty } from '../../coordinator/duty.ts'
import { readRef, treeOf } from '../../integrations/builtin-code-host/bare.ts'
import type { ChangeDependencies } from './dependencies.ts'
import { createFaults } from './faults.ts'
import { holds, landBatch, recordLanded, refusalsOf, refuse, takeApart, type Place } from './merge-batches.ts'
import { pauseQueue, returnEntry } from './merge-entries.ts'
import { formBatch } from './merge-form.ts'
import { liveBatch, membersOf, queuedRepositories, queueState, type BatchRow } from './merge-queries.ts'
import { baseRun, checkById, hasPassed, type CheckRow } from './queries.ts'

/*
 * One batch at a time per repository; a batch of one is the serial queue. What is recorded before what is done, so that a
 * stop at any line is taken up again:
 *
 *   no batch   build the candidate M of those who wait on main B (a pure function of B, the heads and the entries), record it
 *   checking   B, M, the members and the check run of exactly M are in the row, and git has the batch's permit
 *              passed → every member may still land? → main moves from B to M and the permit goes, in one transaction → landed
 *              main moved meanwhile → taken apart; the third time in a row the queue pauses
 *              red → is B green? no: the queue pauses and blames nobody; yes: bisected, down to the one that goes back with its output
 *              a member was taken out → taken apart, and built again without it
 *   M is in main already → landed, whatever the row says: the stop was between the ref and the row
 *
 * The permit (a ref) is what fences git: who takes a batch apart removes it first, so a replica that slept between reading
 * the database and moving main finds main or the permit gone, and moves nothing.
 */

/** Lost races in a row after which somebody else evidently pushes to main. */
const MAX_LOSSES = 3
/** Commits named in the evidence of a red merged tree. */
const MAX_NAMED_COMMITS = 30

/** Builds, checks and merges; resolves to true when anything moved. Safe on every replica at once: each step is a compare-and-set. */
export function mergeQueueDuty(deps: ChangeDependencies): Duty {
  const faults = createFaults(deps.now)
  return {
    name: 'merge queue',
    async run(stop) {
      let moved = false
      const resting = faults.resting()
      const errors: unknown[] = []
      for (const repositoryId of await queuedRepositories(deps.db.read)) {
        stop.throwIfAborted()
        if (resting.includes(repositoryId)) continue
        try {
          moved = await step(deps, repositoryId, stop) || moved
          faults.clear(repositoryId)
        } catch (error) {
          stop.throwIfAborted()
          // One repository's trouble is not the others': theirs go on, and its own queue stops where a person sees it.
          if (faults.exhausted(repositoryId)) moved = await stopFaulty(deps, repositoryId, error) || moved
          else errors.push(error)
        }
      }
      if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, `${errors.length} merges cannot be carried out`)
      return moved
    },
    nextAt: async () => faults.nextAt(),
  }
}

/** The batch, if there is one, stays as it is: what is wrong may be the repository itself. */
async function stopFaulty(deps: ChangeDependencies, repositoryId: string, error: unknown): Promise<boolean> {
  const { projectId } = await deps.locate(repositoryId)
  const reason = `the merge cannot be carried out: ${error instanceof Error ? error.message : String(error)}`
  await deps.db.write((trx) => pauseQueue(trx, deps, { repositoryId, projectId, reason, correlationId: repositoryId }))
  return true
}

async function step(deps: ChangeDependencies, repositoryId: string, stop: AbortSignal): Promise<boolean> {
  const { path, defaultBranch, projectId } = await deps.locate(repositoryId)
  const [batch, queue] = [await liveBatch(deps.db.read, repositoryId), await queueState(deps.db.read, repositoryId)]
  const paused = (queue?.paused_reason ?? null) !== null
  if (paused && !batch) return false
  const main = `refs/heads/${defaultBranch}`
  const base = await readRef(path, main)
  if (base === null) throw new DomainError('repository_without_commits', { repository: repositoryId, branch: defaultBranch })
  const place = { repositoryId, projectId, path, main, base }
  return batch ? await settle(deps, place, batch, paused) : await formBatch(deps, place, stop)
}

async function settle(deps: ChangeDependencies, place: Place, batch: BatchRow, paused: boolean): Promise<boolean> {
  if (await holds(place, batch)) return await recordLanded(deps, place, batch)
  if ((await refusalsOf(deps.db.read, batch)).size > 0) return await withoutRefused(deps, place, batch)
  if (paused) return false
  const check = await checkById(deps.db.read, batch.check_id)
  if (!check || check.state === 'cancelled') return await takeApart(deps, place, batch, { to: 'dissolved', reason: 'its check run was cancelled' })
  if (check.state === 'queued' || check.state === 'running') return false
  if (check.state === 'error') return await pause(deps, place, batch, `the checks of a merge could not be run: ${check.failure ?? 'unknown'}`)
  if (check.state === 'failed') return await red(deps, place, batch, check)
  // Exactly what passed is what lands.
  if (check.commit_sha !== batch.head_sha || check.tree_sha !== await treeOf(place.path, batch.head_sha)) return await takeApart(deps, place, batch, { to: 'dissolved', reason: 'its check run is about another commit' })
  // Asked where writers are asked one after the other, as the last thing before main moves.
  if ((await deps.db.write((trx) => refusalsOf(trx, batch))).size > 0) return await withoutRefused(deps, place, batch)
  const landing = await landBatch(place, batch)
  if (landing === 'landed') return await recordLanded(deps, place, batch)
  if (landing === 'revoked') return await takeApart(deps, place, batch, { to: 'dissolved', reason: 'it was taken apart meanwhile' })
  return await lost(deps, place, batch)
}

/** Held or cancelled tickets leave with their batch; the others wait for one without them. */
async function withoutRefused(deps: ChangeDependencies, place: Place, batch: BatchRow): Promise<boolean> {
  return await takeApart(deps, place, batch, {
    to: 'dissolved', reason: 'a change left it',
    member: async (trx, entry) => {
      const refusal = (await refusalsOf(trx, batch)).get(entry.change_id)
      return refusal !== undefined && await refuse(trx, deps, entry, refusal)
    },
  })
}

/** Main moved between the checks and the merge. */
async function lost(deps: ChangeDependencies, place: Place, batch: BatchRow): Promise<boolean> {
  let losses = 0
  return await takeApart(deps, place, batch, {
    to: 'dissolved', reason: 'main moved between its checks and its merge',
    waiting: (entry) => {
      losses = Math.max(losses, entry.losses + 1)
      return { losses: entry.losses + 1 >= MAX_LOSSES ? 0 : entry.losses + 1 }
    },
    also: async (trx) => {
      if (losses < MAX_LOSSES) return
      const reason = `main moved ${losses} times in a row between the checks and the merge: somebody else pushes to it`
      await pauseQueue(trx, deps, { repositoryId: place.repositoryId, projectId: place.projectId, reason, correlationId: batch.correlation_id })
    },
  })
}

/** A red merged tree: whose fault? The base is asked once per tree and plan; on a green one the batch is bisected. */
async function red(deps: ChangeDependencies, place: Place, batch: BatchRow, check: CheckRow): Promise<boolean> {
  const { path } = place
  // It is about a main that is no longer there.
  if (place.base !== batch.base_sha) return await takeApart(deps, place, batch, { to: 'dissolved', reason: 'main moved while it was checked' })
  const tree = await treeOf(path, batch.base_sha)
  const plan = deps.checks.sealPlan(await deps.checks.readPlan(path, batch.base_sha))
  if (!await hasPassed(deps.db.read, batch.repository_id, tree, plan.digest)) {
    const since = (await queueState(deps.db.read, batch.repository_id))?.updated_at ?? 0
    const run = await baseRun(deps.db.read, batch.repository_id, tree, plan.digest, since)
    if (!run) {
      return await deps.db.write(async (trx) => {
        if (await baseRun(trx, batch.repository_id, tree, plan.digest, since)) return true
        await deps.checks.enqueue(trx, { projectId: batch.project_id, repositoryId: batch.repository_id, purpose: 'base', commitSha: batch.base_sha, treeSha: tree, plan, correlationId: batch.correlation_id })
        return true
      })
    }
    if (run.state === 'queued' || run.state === 'running') return false
    if (run.state === 'failed') return await pause(deps, place, batch, `main itself (${batch.base_sha.slice(0, 12)}) does not pass its checks; no ticket is to blame`)
    if (run.state !== 'passed') return await pause(deps, place, batch, `the checks of main could not be run: ${run.failure ?? 'unknown'}`)
  }
  const bad = deps.checks.readResults(check).results.find((result) => result.exitCode !== 0 || result.timedOut)
  const reason = `merged_tree_red: ${bad?.name ?? 'unknown'}`
  const [member, another] = membersOf(batch)
  if (!member || another) return await takeApart(deps, place, batch, { to: 'red', reason })
  const between = (await git(path, ['log', '--oneline', '--no-decorate', `--max-count=${MAX_NAMED_COMMITS}`, `${member.headSha}..${batch.base_sha}`])).stdout.trim()
  const note = between === '' ? '' : `Merged since this work began:\n${between}\n\n`
  const checkOutput = `${note}On the merged tree:\n${deps.checks.failedOutput(check)}`
  return await takeApart(deps, place, batch, {
    to: 'red', reason,
    member: (trx, entry) => returnEntry(trx, deps, entry, { failureClass: 'checks', reason, parts: { checkOutput }, start: { baseSha: batch.base_sha, startSha: batch.head_sha } }),
  })
}

/** Stops the queue of the repository; the members keep their places and are built afresh when a person resumes. */
async function pause(deps: ChangeDependencies, place: Place, batch: BatchRow, reason: string): Promise<boolean> {
  return await takeApart(deps, place, batch, {
    to: 'dissolved', reason, waiting: () => ({ losses: 0, reason }),
    also: (trx) => pauseQueue(trx, deps, { repositoryId: place.repositoryId, projectId: place.projectId, reason, correlationId: batch.correlation_id }),
  })
}
