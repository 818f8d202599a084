import type { BatchMember } from '@swarm/contract/endpoints/changes.ts'
import { nextMembers, refusalToLand, type Refusal } from '@swarm/core/merge/batches.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { treeOf } from '../../integrations/builtin-code-host/bare.ts'
import { buildCandidate, describeConflict } from '../../integrations/builtin-code-host/candidate.ts'
import type { ChangeDependencies, SealedPlan } from './dependencies.ts'
import { refuse, startBatch, type Place } from './merge-batches.ts'
import { mergeEntry, pauseQueue, returnEntry, type Return } from './merge-entries.ts'
import { landingFacts, lastRedBatch, liveEntries, membersOf, type EntryRow } from './merge-queries.ts'
import { touchedPaths } from './publish.ts'
import { changeById } from './queries.ts'
import { unlessMoved } from './verification.ts'

type Member = BatchMember & { readonly entry: EntryRow }

/**
 * Builds the next batch of a repository and records it. A pure function of main, the heads and the entries, so that a stop at
 * any line is harmless: what was not recorded is built again, to the same commits.
 */
export async function formBatch(deps: ChangeDependencies, place: Place, stop: AbortSignal): Promise<boolean> {
  const waiting = await liveEntries(deps.db.read, place.repositoryId)
  const facts = await landingFacts(deps.db.read, waiting.map((entry) => entry.change_id))
  const refused = waiting.flatMap((entry) => {
    const known = facts.get(entry.change_id)
    const refusal: Refusal | null = known ? refusalToLand(known) : { kind: 'left', reason: 'the change is gone' }
    return refusal ? [{ entry, refusal }] : []
  })
  if (refused.length > 0) return await eachMoved(refused, ({ entry, refusal }) => unlessMoved(() => deps.db.write((trx) => refuse(trx, deps, entry, refusal))))
  if (waiting.length === 0) return false

  const red = await lastRedBatch(deps.db.read, place.repositoryId)
  const known = waiting.map((entry) => ({ entry, changeId: entry.change_id, headSha: entry.head_sha }))
  const chosen = nextMembers(known, red ? membersOf(red) : [], deps.batchSize).map(({ entry }) => entry)
  let plan: SealedPlan
  try {
    const built = await stack(deps, place, chosen, stop)
    if (built.out.length > 0) return await eachMoved(built.out, (settle) => settle())
    const head = built.members.at(-1)
    if (!head) return false
    const treeSha = await treeOf(place.path, head.tipSha)
    plan = deps.checks.sealPlan(await deps.checks.readPlan(place.path, place.base, head.tipSha))
    return await startBatch(deps, place, built.members, { headSha: head.tipSha, treeSha, plan })
  } catch (error) {
    if (!(error instanceof DomainError && error.code === 'swarm_yml_invalid')) throw error
    const reason = `main cannot be checked: ${error.message}`
    await deps.db.write((trx) => pauseQueue(trx, deps, { repositoryId: place.repositoryId, projectId: place.projectId, reason, correlationId: place.repositoryId }))
    return true
  }
}

/**
 * The entries rebased one upon the other on main. `out`: what is to be done first about those that cannot be members. Who
 * conflicts only with an earlier member waits for the next round: it is not to blame until it conflicts with main itself.
 */
async function stack(deps: ChangeDependencies, place: Place, entries: readonly EntryRow[], signal: AbortSignal): Promise<{ members: Member[]; out: (() => Promise<boolean>)[] }> {
  const { path, base } = place
  const members: Member[] = []
  const out: (() => Promise<boolean>)[] = []
  const giveBack = (entry: EntryRow, why: Return) => out.push(() => unlessMoved(() => deps.db.write((trx) => returnEntry(trx, deps, entry, why))))
  let tip = base
  for (const entry of entries) {
    const input = { head: entry.head_sha, at: Math.floor(entry.created_at / 1_000), signal }
    const built = await buildCandidate(path, { ...input, onto: tip })
    if (built.kind === 'clean') {
      if (built.sha === base) {
        out.push(() => alreadyThere(deps, place, entry))
        continue
      }
      members.push({ entry, changeId: entry.change_id, ticketId: entry.ticket_id, headSha: entry.head_sha, ontoSha: tip, tipSha: built.sha })
      // Those behind it are to be checked by the rules that it brings.
      if (await changesRules(deps, path, tip, built.sha)) break
      tip = built.sha
      continue
    }
    const alone = tip === base ? built : await buildCandidate(path, { ...input, onto: base })
    if (alone.kind === 'unrelated') giveBack(entry, { failureClass: 'policy', reason: 'unrelated_history', parts: {}, start: { baseSha: base, startSha: base } })
    // The next attempt works on main as it is now, with both sides in hand.
    if (alone.kind === 'conflict') giveBack(entry, { failureClass: 'conflict', reason: `conflict in ${alone.files.map((file) => file.path).join(', ')}`, parts: { conflict: describeConflict(alone) }, start: { baseSha: base, startSha: base } })
  }
  return { members, out }
}

/** Main has all that the change would add; nothing lands, and nothing is left to check. */
async function alreadyThere(deps: ChangeDependencies, place: Place, entry: EntryRow): Promise<boolean> {
  const change = await changeById(deps.db.read, entry.change_id)
  const paths = change ? await touchedPaths(place.path, change.base_sha, change.head_sha) : []
  return await unlessMoved(() => deps.db.write((trx) => mergeEntry(trx, deps, entry, { sha: place.base, baseSha: place.base, tipSha: place.base, checkId: null, batchId: null, paths })))
}

async function changesRules(deps: ChangeDependencies, path: string, before: string, after: string): Promise<boolean> {
  const digest = async (commit: string) => deps.checks.sealPlan(await deps.checks.readPlan(path, commit)).digest
  try {
    return await digest(before) !== await digest(after)
  } catch (error) {
    if (error instanceof DomainError && error.code === 'swarm_yml_invalid') return true
    throw error
  }
}

async function eachMoved<T>(items: readonly T[], move: (item: T) => Promise<boolean>): Promise<boolean> {
  let moved = false
  for (const item of items) moved = await move(item) || moved
  return moved
}
