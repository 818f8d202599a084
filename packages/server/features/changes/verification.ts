import { DomainError } from '@swarm/core/errors.ts'
import type { GateResult } from '@swarm/core/output/change.ts'
import { runGate } from '@swarm/git/gate.ts'
import { git, resolveCommit } from '@swarm/git/run.ts'
import type { Duty } from '../../coordinator/duty.ts'
import { createFaults, type Faults } from './faults.ts'
import { signal as wake, type Trx } from '../../db/unit.ts'
import { readRef, treeOf } from '../../integrations/builtin-code-host/bare.ts'
import type { Evidence } from '../../ports.ts'
import type { ChangeDependencies, SealedPlan } from './dependencies.ts'
import { publish } from './publish.ts'
import { nextGating, nextVerdict, ticketOf, type AttemptRow, type CheckRow, type TicketRow } from './queries.ts'

type Verdict =
  | { readonly kind: 'passed'; readonly gate: GateResult; readonly tree: string; readonly plan: SealedPlan }
  | { readonly kind: 'refused'; readonly failureClass: 'policy' | 'agent' | 'infrastructure'; readonly reason: string; readonly message: string; readonly findings: GateResult['findings'] }

/** The output gate on each attempt that was handed in; then its check run is queued. */
export function gateDuty(deps: ChangeDependencies): Duty {
  const faults = createFaults(deps.now)
  return {
    name: 'output gate',
    async run(signal) {
      const attempt = await nextGating(deps.db.read, faults.resting())
      if (!attempt) return false
      return await orGiveUp(deps, faults, attempt, 'gate_fault', signal, async () => {
        const ticket = await ticketOf(deps.db.read, attempt.ticket_id)
        const verdict = await judge(deps, attempt, JSON.parse(ticket.scope) as string[], ticket.repository_id, signal)
        return await unlessMoved(() => deps.db.write((trx) => conclude(trx, deps, attempt, ticket, verdict)))
      })
    },
    nextAt: async () => faults.nextAt(),
  }
}

async function conclude(trx: Trx, deps: ChangeDependencies, attempt: AttemptRow, ticket: TicketRow, verdict: Verdict): Promise<void> {
  if (verdict.kind === 'refused') {
    await deps.tickets.verificationFailed(trx, {
      attemptId: attempt.id, failureClass: verdict.failureClass, reason: verdict.reason, message: verdict.message,
      evidence: evidence(verdict.failureClass, verdict.reason, { findings: [...verdict.findings] }),
    })
  } else {
    await deps.tickets.gatePassed(trx, { attemptId: attempt.id, gate: JSON.stringify(verdict.gate) })
    await deps.checks.enqueue(trx, {
      projectId: attempt.project_id, repositoryId: ticket.repository_id, purpose: 'attempt', attemptId: attempt.id, ticketId: ticket.id,
      commitSha: attempt.head_sha ?? '', treeSha: verdict.tree, plan: verdict.plan, correlationId: attempt.correlation_id,
    })
  }
  wake(trx, 'work')
}

/**
 * Does one step about an attempt. An error that nobody foresaw is thrown on (and logged), while the attempt rests and others
 * get their turn; after a few of them the attempt has failed by a fault of ours, since nothing else would ever move it.
 */
async function orGiveUp(deps: ChangeDependencies, faults: Faults, attempt: AttemptRow, reason: string, signal: AbortSignal, step: () => Promise<boolean>): Promise<boolean> {
  try {
    const moved = await step()
    faults.clear(attempt.id)
    return moved
  } catch (error) {
    signal.throwIfAborted()
    if (!faults.exhausted(attempt.id)) throw error
    const message = error instanceof Error ? error.message : String(error)
    return await unlessMoved(() => deps.db.write((trx) => deps.tickets.verificationFailed(trx, {
      attemptId: attempt.id, failureClass: 'infrastructure', reason, message, evidence: evidence('infrastructure', reason, { checkOutput: message }),
    })))
  }
}

/** Reads the diff, never the agent's word; protected and generated paths are those of the base's swarm.yml. */
async function judge(deps: ChangeDependencies, attempt: AttemptRow, scope: string[], repositoryId: string, signal: AbortSignal): Promise<Verdict> {
  const { path } = await deps.locate(repositoryId)
  const refused = (failureClass: 'policy' | 'agent' | 'infrastructure', reason: string, message: string, findings: GateResult['findings'] = []): Verdict => ({ kind: 'refused', failureClass, reason, message, findings })
  try {
    const head = await resolveCommit(path, attempt.head_sha ?? 'none')
    // What was handed in is named by what ran in the microVM; it must be what this attempt pushed, under its own fence.
    if (await readRef(path, `refs/swarm/attempts/${attempt.id}/work`) !== head) return refused('agent', 'head_missing', `The commit that was handed in (${head}) is not what the attempt pushed.`)
    const related = await git(path, ['merge-base', attempt.base_sha, head], { okCodes: [0, 1], signal })
    if (related.code === 1) return refused('policy', 'unrelated_history', 'The work shares no history with the base it was given.')
    const plan = await deps.checks.readPlan(path, attempt.base_sha, head)
    const gate = await runGate(path, attempt.base_sha, head, { scope, protect: plan.scope.protect, generated: plan.scope.generated, signal })
    if (gate.clean) return { kind: 'passed', gate, tree: await treeOf(path, head), plan: deps.checks.sealPlan(plan) }
    const errors = gate.findings.filter((finding) => finding.severity === 'error')
    return refused('policy', 'output_gate', errors.map((finding) => `${finding.code} (${finding.path}): ${finding.message}`).join('\n'), gate.findings)
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof DomainError)) throw error
    if (error.code === 'git_output_too_large') return refused('policy', 'change_too_large', `${error.message} ${error.remedy}`)
    if (error.code === 'unknown_revision') return refused('agent', 'head_missing', `The commit that was handed in (${attempt.head_sha ?? 'none'}) was never pushed.`)
    return refused('infrastructure', error.code, `${error.message} ${error.remedy}`)
  }
}

/** What follows from an attempt's check run: its change is published, or the attempt has failed with the output. */
export function verdictDuty(deps: ChangeDependencies): Duty {
  const faults = createFaults(deps.now)
  return {
    name: 'check verdicts',
    async run(signal) {
      const found = await nextVerdict(deps.db.read, faults.resting())
      return found ? await orGiveUp(deps, faults, found.attempt, 'publish_fault', signal, () => follow(deps, found)) : false
    },
    nextAt: async () => faults.nextAt(),
  }
}

async function follow(deps: ChangeDependencies, { attempt, check }: { attempt: AttemptRow; check: CheckRow }): Promise<boolean> {
  if (check.state === 'passed') return await unlessMoved(() => publish(deps, attempt, check))
  const red = check.state === 'failed'
  const failureClass = red ? 'checks' as const : 'infrastructure' as const
  const bad = deps.checks.readResults(check).results.find((result) => result.exitCode !== 0 || result.timedOut)
  const reason = red ? `check_failed: ${bad?.name ?? 'unknown'}` : 'check_error'
  return await unlessMoved(() => deps.db.write(async (trx) => {
    await deps.tickets.verificationFailed(trx, {
      attemptId: attempt.id, failureClass, reason, message: red ? `The check ${bad?.name ?? ''} did not pass.` : check.failure ?? 'The checks could not be run.',
      evidence: evidence(failureClass, reason, { checkOutput: deps.checks.failedOutput(check) || (check.failure ?? '') }),
    })
    wake(trx, 'work')
  }))
}

export function evidence(failureClass: Evidence['failureClass'], reason: string, parts: Partial<Pick<Evidence, 'findings' | 'checkOutput' | 'conflict'>>): Evidence {
  return { failureClass, reason, findings: parts.findings ?? [], checkOutput: parts.checkOutput ?? '', conflict: parts.conflict ?? '' }
}

/** False when another replica, or a person, was first: what was to be done is done, or no longer wanted. Whoever was first has woken everybody. */
export async function unlessMoved(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (error) {
    if (error instanceof DomainError && (error.code === 'illegal_transition' || error.code === 'stale_fence')) return false
    throw error
  }
}
