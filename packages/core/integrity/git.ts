import { GRACE_MS, type CheckFact, type Facts, type Finding, type RepositoryFact } from './facts.ts'
import type { Replay } from './replay.ts'
import { groupBy } from './tickets.ts'

const BRANCH = 'refs/heads/swarm/'

/** I3: one branch and one change per ticket, and the branch is where the change is. */
export function oneBranchEach(facts: Facts): Finding[] {
  const findings: Finding[] = []
  const report = (kind: string, id: string, message: string, evidence: Record<string, unknown>, repairable = false): void => { findings.push({ invariant: 'I3', subject: { kind, id }, message, evidence, repairable }) }
  for (const [ticketId, changes] of groupBy(facts.changes, (change) => change.ticketId)) {
    if (changes.length > 1) report('ticket', ticketId, `it has ${changes.length} changes`, { changes: changes.map(({ id }) => id) })
  }
  for (const ticket of facts.tickets) if (ticket.branch !== `swarm/${ticket.id}`) report('ticket', ticket.id, `its branch is called ${ticket.branch}`, { branch: ticket.branch })
  for (const repository of facts.repositories) {
    const byBranch = new Map(facts.changes.filter(({ repositoryId }) => repositoryId === repository.id).map((change) => [`refs/heads/${change.branch}`, change]))
    for (const [ref, sha] of repository.refs) {
      if (!ref.startsWith(BRANCH)) continue
      const change = byBranch.get(ref)
      if (!change) report('ref', ref, 'this branch belongs to no change', { repositoryId: repository.id, sha })
      // A branch follows the database after the commit; a moment is granted.
      else if (change.headSha !== sha && late(change.updatedAt, facts)) report('change', change.id, `its branch is at ${short(sha)}; its head is ${short(change.headSha)}`, { repositoryId: repository.id, ref, branch: sha, headSha: change.headSha }, true)
    }
    for (const [ref, change] of byBranch) {
      if (change.state === 'open' && !repository.refs.has(ref) && late(change.updatedAt, facts)) report('change', change.id, 'its branch does not exist', { repositoryId: repository.id, ref, headSha: change.headSha }, true)
    }
  }
  return findings
}

const late = (updatedAt: number, facts: Facts): boolean => facts.settled || updatedAt < facts.asOf - GRACE_MS

/**
 * I4: before main had a value, that had passed its checks on exactly that tree, or it came whole from a person. What a batch
 * landed rests on the batch's own check run, and on the one whose pass that took over.
 */
export function mainWasAlwaysChecked(facts: Facts): Finding[] {
  const checks = new Map(facts.checks.map((check) => [check.id, check]))
  const passes = groupBy(facts.checks.filter(({ state }) => state === 'passed'), ({ repositoryId, treeSha }) => `${repositoryId} ${treeSha}`)
  // One whose batch is not recorded as landed yet has landed all the same, once main is there.
  const batches = new Map(facts.batches.filter(({ state }) => state === 'landed' || state === 'checking').map((batch) => [`${batch.repositoryId} ${batch.headSha}`, batch]))
  return facts.repositories.flatMap((repository) => {
    const findings: Finding[] = []
    const report = (message: string, evidence: Record<string, unknown>): void => { findings.push({ invariant: 'I4', subject: { kind: 'repository', id: repository.id }, message, evidence: { branch: repository.branch, ...evidence }, repairable: false }) }
    gaps(repository, report)
    // The first value is the start of the repository: made by its creation, or imported.
    for (const [index, { to, at }] of repository.mainLog.entries()) {
      if (index === 0 || repository.fetched.has(to)) continue
      const tree = repository.trees.get(to)
      if (tree === undefined) {
        report(`${repository.branch} was at ${short(to)}, which does not exist any more`, { sha: to })
        continue
      }
      const [batch, passed] = [batches.get(`${repository.id} ${to}`), passes.get(`${repository.id} ${tree}`) ?? []]
      const inTime = passed.filter((check) => endedBefore(check, at))
      if (inTime.length === 0) report(`${repository.branch} was at ${short(to)}, whose tree ${passed.length === 0 ? 'never passed its checks' : 'passed its checks only later'}`, { sha: to, tree, position: index, at, passed: passed.map(({ id, endedAt }) => ({ id, endedAt })) })
      else if (batch && !inTime.some((check) => check.id === batch.checkId && restsOnPass(check, checks))) report(`${repository.branch} was at ${short(to)}, which ${batch.id} landed; its own check run ${batch.checkId} had not passed on that tree`, { sha: to, tree, position: index, at, batchId: batch.id, checkId: batch.checkId })
    }
    return findings
  })
}

/** Reflogs have whole seconds. */
const endedBefore = ({ endedAt }: CheckFact, second: number): boolean => endedAt !== null && endedAt < second + 1_000

/** A run that was not made since the same tree had passed the same plan before: that must be so. */
function restsOnPass(check: CheckFact, checks: ReadonlyMap<string, CheckFact>): boolean {
  if (check.reusedFrom === null) return true
  const before = checks.get(check.reusedFrom)
  return before?.state === 'passed' && before.repositoryId === check.repositoryId && before.treeSha === check.treeSha && before.planDigest === check.planDigest && before.endedAt !== null && before.endedAt <= (check.endedAt ?? 0)
}

const NOTHING = /^0+$/

/** A reflog that was cut or edited proves nothing. */
function gaps(repository: RepositoryFact, report: (message: string, evidence: Record<string, unknown>) => void): void {
  const { mainLog: log, main } = repository
  const [first, last] = [log[0], log.at(-1)]
  if (main !== null && !first) return report('the record of what main ever was (its reflog) is missing', { main })
  if (first && !NOTHING.test(first.from)) report('the record of what main ever was (its reflog) does not reach back to its beginning', { from: first.from })
  log.forEach((move, index) => {
    const before = log[index - 1]
    if (before && before.to !== move.from) report(`main moved from ${short(before.to)} to ${short(move.from)} without a record`, { from: before.to, to: move.from, position: index })
  })
  if (last && main !== last.to) report(`main is at ${main === null ? 'nothing' : short(main)}; its record ends with ${short(last.to)}`, { main, recorded: last.to })
}

/** A microVM dies with its runner: what was in it alone then, since the last push, nobody can have kept. What was pushed counts all the same. */
const WITH_ITS_RUNNER = new Set(['runner_restarted', 'lease_expired', 'time_limit'])

/** I5: what an ended attempt wrote is on a ref of its own, until retention takes that long after its ticket is over. */
export function workIsKept(facts: Facts, { retired }: Pick<Replay, 'retired'>): Finding[] {
  const refs = new Map<string, ReadonlyMap<string, string>>(facts.repositories.map((repository) => [repository.id, repository.refs]))
  const unreachable = new Map(facts.repositories.flatMap((repository) => [...repository.unreachable]))
  const repositoryOf = new Map(facts.tickets.map((ticket) => [ticket.id, ticket.repositoryId]))
  const done = new Set(facts.steps.filter(({ state }) => state === 'done').map(({ attemptId, step }) => `${attemptId} ${step}`))
  const findings: Finding[] = []
  for (const attempt of facts.attempts) {
    if (attempt.state === 'running' || retired.has(attempt.id)) continue
    const subject = { kind: 'attempt', id: attempt.id }
    for (const sha of unreachable.get(attempt.id) ?? []) {
      findings.push({ invariant: 'I5', subject, message: `its work ${short(sha)} is on no ref of its own`, evidence: { sha, state: attempt.state }, repairable: false })
    }
    const wrote = attempt.headSha !== null || attempt.wipSha !== null || done.has(`${attempt.id} publish`) || (done.has(`${attempt.id} agent`) && !WITH_ITS_RUNNER.has(attempt.failureReason ?? ''))
    const pushed = refs.get(repositoryOf.get(attempt.ticketId) ?? '')?.has(`refs/swarm/attempts/${attempt.id}/work`) === true
    if (wrote && !pushed && !unreachable.has(attempt.id)) findings.push({ invariant: 'I5', subject, message: 'its agent worked, but the ref with its work does not exist', evidence: { state: attempt.state, headSha: attempt.headSha, wipSha: attempt.wipSha }, repairable: false })
  }
  return findings
}

export const short = (sha: string): string => sha.slice(0, 12)
