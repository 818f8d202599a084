import { DomainError } from '@swarm/core/errors.ts'
import { git } from '@swarm/git/run.ts'
import type { Duty } from '../../coordinator/duty.ts'
import { createFaults } from './faults.ts'
import { signal as wake, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { compareAndSet, isAncestor, readRef, treeOf } from '../../integrations/builtin-code-host/bare.ts'
import { buildCandidate, describeConflict } from '../../integrations/builtin-code-host/candidate.ts'
import type { ChangeDependencies } from './dependencies.ts'
import { baseRun, changeById, checkById, hasPassed, moveChange, moveEntry, nextEntries, queueState, setQueue, ticketOf, useApproval, type CheckRow, type EntryRow } from './queries.ts'
import { evidence, unlessMoved } from './verification.ts'

/*
 * One entry at a time per repository. What is recorded before what is done, so that a stop at any line is taken up again:
 *
 *   queued     build the candidate M: the change's commits on main B (a pure function of B, the head and the entry)
 *   checking   B, M and the check run of exactly M are in the row
 *              passed → main moves from B to M by compare-and-set → merged
 *              main moved meanwhile → queued again; the third time in a row the queue pauses
 *              red → is B green? no: the queue pauses and blames nobody; yes: the ticket goes back with the output
 *   M is in main already → merged, whatever the row says: the stop was between the ref and the row
 */

/** Lost races in a row after which somebody else evidently pushes to main. */
const MAX_LOSSES = 3
/** Commits named in the evidence of a red merged tree. */
const MAX_NAMED_COMMITS = 30

interface Place { readonly path: string; readonly main: string; readonly base: string }

/** Builds, checks and merges; resolves to true when anything moved. Safe on every replica at once: each step is a compare-and-set. */
export function mergeQueueDuty(deps: ChangeDependencies): Duty {
  const faults = createFaults(deps.now)
  return {
    name: 'merge queue',
    async run(stop) {
      let moved = false
      const resting = faults.resting()
      const errors: unknown[] = []
      for (const entry of await nextEntries(deps.db.read)) {
        stop.throwIfAborted()
        if (resting.includes(entry.change_id)) continue
        try {
          moved = await step(deps, entry, stop) || moved
          faults.clear(entry.change_id)
        } catch (error) {
          stop.throwIfAborted()
          // One repository's trouble is not the others': theirs go on, and its own queue stops where a person sees it.
          if (faults.exhausted(entry.change_id)) moved = await pause(deps, entry, `the merge cannot be carried out: ${error instanceof Error ? error.message : String(error)}`) || moved
          else errors.push(error)
        }
      }
      if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, `${errors.length} merges cannot be carried out`)
      return moved
    },
    nextAt: async () => faults.nextAt(),
  }
}

async function step(deps: ChangeDependencies, entry: EntryRow, stop: AbortSignal): Promise<boolean> {
  const { path, defaultBranch } = await deps.locate(entry.repository_id)
  const main = `refs/heads/${defaultBranch}`
  const base = await readRef(path, main)
  if (base === null) throw new DomainError('repository_without_commits', { repository: entry.repository_id, branch: defaultBranch })
  const place = { path, main, base }
  if (entry.candidate_sha !== null && await isAncestor(path, entry.candidate_sha, base)) return await merged(deps, entry, entry.candidate_sha)
  if ((await ticketOf(deps.db.read, entry.ticket_id)).state !== 'merging') return await leave(deps, entry, 'the ticket was taken out of the queue')
  return entry.state === 'queued' ? await build(deps, entry, place, stop) : await settle(deps, entry, place)
}

async function build(deps: ChangeDependencies, entry: EntryRow, place: Place, stop: AbortSignal): Promise<boolean> {
  const { path, base } = place
  const built = await buildCandidate(path, { onto: base, head: entry.head_sha, at: Math.floor(entry.created_at / 1_000), signal: stop })
  if (built.kind === 'unrelated') return await giveBack(deps, entry, 'policy', 'unrelated_history', {}, { baseSha: base, startSha: base })
  if (built.kind === 'conflict') {
    // The next attempt works on main as it is now, with both sides in hand.
    return await giveBack(deps, entry, 'conflict', `conflict in ${built.files.map((file) => file.path).join(', ')}`, { conflict: describeConflict(built) }, { baseSha: base, startSha: base })
  }
  if (built.sha === base) return await merged(deps, entry, base)
  let plan
  try {
    plan = deps.checks.sealPlan(await deps.checks.readPlan(path, base, built.sha))
  } catch (error) {
    if (error instanceof DomainError && error.code === 'swarm_yml_invalid') return await pause(deps, entry, `main cannot be checked: ${error.message}`)
    throw error
  }
  return await unlessMoved(() => deps.db.write(async (trx) => {
    const change = await changeById(trx, entry.change_id)
    const check = await deps.checks.enqueue(trx, {
      projectId: change?.project_id ?? '', repositoryId: entry.repository_id, purpose: 'merge', changeId: entry.change_id, ticketId: entry.ticket_id,
      commitSha: built.sha, treeSha: built.tree, plan, correlationId: await correlation(trx, entry),
    })
    const taken = await moveEntry(trx, entry, { state: 'checking', base_sha: base, candidate_sha: built.sha, check_id: check.id, reason: null, updated_at: deps.now() })
    if (!taken) throw new DomainError('illegal_transition', { kind: 'merge entry', id: entry.change_id, from: entry.state, to: 'checking' })
    wake(trx, 'work')
  }))
}

async function settle(deps: ChangeDependencies, entry: EntryRow, place: Place): Promise<boolean> {
  const { candidate_sha: candidate, base_sha: onto, check_id: checkId } = entry
  const check = checkId === null ? undefined : await checkById(deps.db.read, checkId)
  if (candidate === null || onto === null || !check || check.state === 'cancelled') return await requeue(deps, entry, entry.losses)
  if (check.state === 'queued' || check.state === 'running') return false
  if (check.state === 'error') return await pause(deps, entry, `the checks of a merge could not be run: ${check.failure ?? 'unknown'}`)
  if (check.state === 'failed') return await red(deps, entry, check, { ...place, onto, candidate })
  // Exactly what passed is what lands.
  const proven = check.commit_sha === candidate && check.tree_sha === await treeOf(place.path, candidate)
  if (!proven) return await requeue(deps, entry, entry.losses)
  if (await compareAndSet(place.path, place.main, candidate, onto)) return await merged(deps, entry, candidate)
  const now = await readRef(place.path, place.main)
  if (now !== null && await isAncestor(place.path, candidate, now)) return await merged(deps, entry, candidate)
  const losses = entry.losses + 1
  if (losses >= MAX_LOSSES) return await pause(deps, entry, `main moved ${losses} times in a row between the checks and the merge: somebody else pushes to it`)
  return await requeue(deps, entry, losses)
}

/** A red merged tree: whose fault? The base is asked once per tree and plan. */
async function red(deps: ChangeDependencies, entry: EntryRow, check: CheckRow, at: Place & { onto: string; candidate: string }): Promise<boolean> {
  // It is about a main that is no longer there.
  if (at.base !== at.onto) return await requeue(deps, entry, entry.losses)
  const tree = await treeOf(at.path, at.onto)
  const plan = deps.checks.sealPlan(await deps.checks.readPlan(at.path, at.onto))
  if (!await hasPassed(deps.db.read, entry.repository_id, tree, plan.digest)) {
    const since = (await queueState(deps.db.read, entry.repository_id))?.updated_at ?? 0
    const run = await baseRun(deps.db.read, entry.repository_id, tree, plan.digest, since)
    if (!run) {
      return await deps.db.write(async (trx) => {
        if (await baseRun(trx, entry.repository_id, tree, plan.digest, since)) return true
        const change = await changeById(trx, entry.change_id)
        await deps.checks.enqueue(trx, { projectId: change?.project_id ?? '', repositoryId: entry.repository_id, purpose: 'base', commitSha: at.onto, treeSha: tree, plan, correlationId: await correlation(trx, entry) })
        return true
      })
    }
    if (run.state === 'queued' || run.state === 'running') return false
    if (run.state === 'failed') return await pause(deps, entry, `main itself (${at.onto.slice(0, 12)}) does not pass its checks; no ticket is to blame`)
    if (run.state !== 'passed') return await pause(deps, entry, `the checks of main could not be run: ${run.failure ?? 'unknown'}`)
  }
  const bad = deps.checks.readResults(check).results.find((result) => result.exitCode !== 0 || result.timedOut)
  const between = (await git(at.path, ['log', '--oneline', '--no-decorate', `--max-count=${MAX_NAMED_COMMITS}`, `${entry.head_sha}..${at.onto}`])).stdout.trim()
  const note = between === '' ? '' : `Merged since this work began:\n${between}\n\n`
  return await giveBack(deps, entry, 'checks', `merged_tree_red: ${bad?.name ?? 'unknown'}`, { checkOutput: `${note}On the merged tree:\n${deps.checks.failedOutput(check)}` }, { baseSha: at.onto, startSha: at.candidate })
}

async function correlation(trx: Trx, entry: EntryRow): Promise<string> {
  if (entry.approval_id === null) return entry.change_id
  const last = await trx.selectFrom('attempts').select('correlation_id').where('ticket_id', '=', entry.ticket_id).where('state', '=', 'succeeded').orderBy('number', 'desc').executeTakeFirst()
  return last?.correlation_id ?? entry.change_id
}

/** Main holds it: change, ticket, entry and approval are settled together. */
async function merged(deps: ChangeDependencies, entry: EntryRow, sha: string): Promise<boolean> {
  const now = deps.now()
  return await unlessMoved(() => deps.db.write(async (trx) => {
    if (!await moveEntry(trx, entry, { state: 'merged', candidate_sha: sha, reason: null, updated_at: now })) return
    await moveChange(trx, { id: entry.change_id, headSha: entry.head_sha }, { state: 'merged', merged_sha: sha, updated_at: now })
    if (entry.approval_id !== null) await useApproval(trx, entry.approval_id, now)
    const [ticket, change, correlationId] = [await ticketOf(trx, entry.ticket_id), await changeById(trx, entry.change_id), await correlation(trx, entry)]
    // Main has moved, so the ticket is done, even when a person held it in that very moment.
    if (ticket.state === 'merging' || ticket.state === 'on_hold') await deps.tickets.merged(trx, { ticketId: entry.ticket_id, sha, correlationId })
    await appendEvents(trx, [{
      type: 'change:merged', projectId: change?.project_id ?? null, subject: { kind: 'change', id: entry.change_id }, correlationId,
      data: { ticketId: entry.ticket_id, sessionId: ticket.session_id, sha, baseSha: entry.base_sha, checkId: entry.check_id, ticketState: ticket.state },
    }])
    wake(trx, 'work')
  }))
}

async function giveBack(
  deps: ChangeDependencies, entry: EntryRow, failureClass: 'conflict' | 'checks' | 'policy', reason: string,
  parts: { conflict?: string; checkOutput?: string }, start: { baseSha: string; startSha: string },
): Promise<boolean> {
  return await unlessMoved(() => deps.db.write(async (trx) => {
    if (!await moveEntry(trx, entry, { state: 'returned', reason, updated_at: deps.now() })) return
    await deps.tickets.returned(trx, { ticketId: entry.ticket_id, failureClass, reason, evidence: evidence(failureClass, reason, parts), correlationId: await correlation(trx, entry), start })
    await announce(trx, entry, 'change:returned', { reason, failureClass })
  }))
}

async function requeue(deps: ChangeDependencies, entry: EntryRow, losses: number): Promise<boolean> {
  await deps.db.write(async (trx) => {
    if (await moveEntry(trx, entry, { state: 'queued', base_sha: null, candidate_sha: null, check_id: null, losses, updated_at: deps.now() })) wake(trx, 'work')
  })
  return true
}

async function leave(deps: ChangeDependencies, entry: EntryRow, reason: string): Promise<boolean> {
  await deps.db.write(async (trx) => {
    if (await moveEntry(trx, entry, { state: 'cancelled', reason, updated_at: deps.now() })) await announce(trx, entry, 'change:dequeued', { reason })
  })
  return true
}

/** Stops the queue of the repository; the entry keeps its place and is built afresh when a person resumes. */
async function pause(deps: ChangeDependencies, entry: EntryRow, reason: string): Promise<boolean> {
  const now = deps.now()
  await deps.db.write(async (trx) => {
    if (!await moveEntry(trx, entry, { state: 'queued', base_sha: null, candidate_sha: null, check_id: null, losses: 0, reason, updated_at: now })) return
    await setQueue(trx, entry.repository_id, reason, now)
    await announce(trx, entry, 'queue:paused', { reason, repositoryId: entry.repository_id })
  })
  return true
}

async function announce(trx: Trx, entry: EntryRow, type: string, data: Record<string, unknown>): Promise<void> {
  const change = await changeById(trx, entry.change_id)
  await appendEvents(trx, [{ type, projectId: change?.project_id ?? null, subject: { kind: 'change', id: entry.change_id }, correlationId: await correlation(trx, entry), data: { ticketId: entry.ticket_id, ...data } }])
  wake(trx, 'work')
}
