import type { AttemptEvidence } from '@swarm/contract/agent-protocol.ts'
import { AgentLimits } from '@swarm/contract/agent-protocol.ts'
import type { AgentDefinition } from '@swarm/contract/endpoints/agents.ts'
import type { ProjectSettings } from '@swarm/contract/endpoints/projects.ts'
import { StopCode } from '@swarm/contract/runner-protocol.ts'
import type { AttemptWork, Stop, VmLimits } from '@swarm/contract/runner-protocol.ts'
import { tightestLimits } from '@swarm/core/checks/limits.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Database } from '../../db/database.ts'
import type { Trx } from '../../db/unit.ts'
import type { RepositoryAccess, WorkInputs, WorkSource } from '../../ports.ts'
import { claimTicket } from './claim.ts'
import type { ClaimRules } from './claim.ts'
import { moveAttempt, requireAttempt } from './commands.ts'
import type { TicketDependencies } from './commands.ts'
import { afterFailedAttempt } from './failures.ts'
import { handIn } from './hand-in.ts'
import { attemptById, attemptsOf, expiredAttempts, runningOn, ticketById } from './queries.ts'
import type { AttemptRow, TicketRow } from './queries.ts'
import { answeredBefore, resumeOf } from './questions.ts'

/** Where nobody says otherwise (the setting `lease.checkpointMs`). */
const CHECKPOINT_MS = 30_000

export interface AttemptSourceDependencies extends TicketDependencies {
  readonly db: Database
  readonly beatMs: number
  /** How often a runner pushes and journals the work in progress, ms. */
  readonly checkpointMs?: number
  readonly rules: ClaimRules
  readonly repositories: RepositoryAccess
  readonly inputs: WorkInputs
  readonly defaults: VmLimits
  project(id: string): Promise<{ slug: string; settings: Pick<ProjectSettings, 'egressAllow' | 'vm'> }>
  repositorySlug(id: string): Promise<string>
  agentDefinition(name: string, version: number): Promise<AgentDefinition>
  mintToken(input: { kind: 'attempt'; subjectId: string; fence: number; expiresAt: number }): Promise<string>
  readTranscript(digest: string): Promise<unknown[]>
  /** Fixes what the attempt may spend, in dollars as its agent and the swarm.yml of its base state them; once. */
  fixBudget(attempt: { id: string; ticketId: string; projectId: string; correlationId: string }, limits: { agentUsd: number | null; repositoryUsd: number | null }): Promise<void>
  /** What the repository is made of at this commit, in words, for the agent. */
  conventions(repositoryId: string, commitSha: string): Promise<string>
}

/** Attempts as work for runners (ports.ts). */
export function createAttemptSource(deps: AttemptSourceDependencies): WorkSource<AttemptWork> {
  return {
    async claim(trx, runner, claimKey) {
      const held = await trx.selectFrom('attempts').select(['id', 'fence']).where('runner_id', '=', runner.id).where('claim_key', '=', claimKey).where('state', '=', 'running').executeTakeFirst()
      if (held) return held
      if (!runner.takesNew) return null
      const attempt = await claimTicket(trx, deps, deps.rules, runner.id, claimKey)
      return attempt ? { id: attempt.id, fence: attempt.fence } : null
    },

    async describe(id, fence) {
      const attempt = await attemptById(deps.db.read, id)
      if (!attempt || attempt.fence !== fence || attempt.state !== 'running') throw new DomainError('stale_fence', { attemptId: id, fence })
      const ticket = await ticketById(deps.db.read, attempt.ticket_id)
      if (!ticket) throw new DomainError('not_found', { kind: 'ticket', id: attempt.ticket_id })
      const { baseSha, startSha } = await startingPoint(deps, attempt, ticket.repository_id)
      const [project, repositorySlug, definition, plan, conventions] = await Promise.all([
        deps.project(ticket.project_id), deps.repositorySlug(ticket.repository_id),
        deps.agentDefinition(attempt.agent_name, attempt.agent_version), deps.repositories.workPlan(ticket.repository_id, baseSha),
        deps.conventions(ticket.repository_id, baseSha),
      ])
      const limits = AgentLimits.parse(definition.limits)
      await deps.fixBudget({ id, ticketId: ticket.id, projectId: ticket.project_id, correlationId: attempt.correlation_id }, { agentUsd: limits.usd ?? null, repositoryUsd: plan.limits.usd ?? null })
      const resume = await resumeOf(deps, attempt)
      return {
        kind: 'attempt', attemptId: attempt.id, attemptNumber: attempt.number, ticketId: ticket.id, fence, baseSha, startSha,
        leaseTtlMs: deps.rules.leaseTtlMs, beatMs: deps.beatMs, correlationId: attempt.correlation_id,
        token: await deps.mintToken({ kind: 'attempt', subjectId: attempt.id, fence, expiresAt: attempt.deadline_at + deps.rules.leaseTtlMs }),
        projectSlug: project.slug, repositorySlug, agentName: attempt.agent_name, checkpointMs: deps.checkpointMs ?? CHECKPOINT_MS,
        limits: tightestLimits(deps.defaults, plan.limits, definition.vm, { minutes: limits.minutes }, project.settings.vm),
        egressAllow: [...new Set([...project.settings.egressAllow, ...plan.egressAllow.filter((host) => project.settings.egressAllow.includes(host))])],
        image: await deps.inputs.image(ticket.repository_id, plan.image), setup: plan.setup, layer: await deps.inputs.layer(ticket.repository_id, { commit: startSha, base: baseSha }, plan),
        task: {
          attemptId: attempt.id, correlationId: attempt.correlation_id, role: 'developer', config: definition.config, limits, conventions,
          ticket: {
            id: ticket.id, key: ticket.key, title: ticket.title, description: ticket.description + await answeredBefore(deps.db.read, attempt), acceptance: JSON.parse(ticket.acceptance) as string[],
            scope: JSON.parse(ticket.scope) as string[], requirements: JSON.parse(ticket.requirements) as { id: string; text: string }[], checks: [...plan.checks],
          },
          evidence: JSON.parse(ticket.evidence) as AttemptEvidence[],
          ...(resume ? { resume } : {}),
        },
      }
    },

    async heartbeat(trx, runnerId, holding) {
      const now = deps.now()
      const stop: Stop[] = []
      for (const item of holding) {
        const attempt = await attemptById(trx, item.id)
        // A lease that is over is not renewed, even when nobody has taken the ticket yet: a beat that was long on its way comes too late.
        if (!attempt || attempt.state !== 'running' || attempt.fence !== item.fence || attempt.runner_id !== runnerId || (attempt.lease_expires_at ?? 0) < now) {
          stop.push({ id: item.id, code: 'lost', reason: 'the lease is gone' })
          continue
        }
        await trx.updateTable('attempts').set({ lease_expires_at: now + deps.rules.leaseTtlMs, vm_id: item.vmId ?? attempt.vm_id, activity_at: Math.max(item.activityAtMs ?? 0, attempt.activity_at ?? 0) })
          .where('id', '=', attempt.id).where('fence', '=', item.fence).where('state', '=', 'running').execute()
        if (attempt.stop_code !== null) stop.push({ id: item.id, code: StopCode.parse(attempt.stop_code), reason: attempt.stop_reason ?? '' })
      }
      return stop
    },

    async reconcile(trx, runnerId) {
      for (const { id } of await runningOn(trx, runnerId)) {
        const { attempt, ticket } = await requireAttempt(trx, id)
        if (attempt.state === 'running' && attempt.runner_id === runnerId) await loseAttempt(trx, deps, attempt, ticket, 'runner_restarted')
      }
    },

    expire: (trx, now) => expireAttempts(trx, deps, now),
  }
}

/** Ends the attempts whose lease or deadline is over. Returns how many. */
export async function expireAttempts(trx: Trx, deps: TicketDependencies, now: number): Promise<number> {
  const expired = await expiredAttempts(trx, now, 50)
  for (const { id } of expired) {
    const { attempt, ticket } = await requireAttempt(trx, id)
    // Reported, or beaten for, in the moment before the lock.
    if (attempt.state !== 'running' || ((attempt.lease_expires_at ?? now) >= now && attempt.deadline_at >= now)) continue
    await loseAttempt(trx, deps, attempt, ticket, attempt.deadline_at < now ? 'time_limit' : 'lease_expired')
  }
  return expired.length
}

/**
 * Ends an attempt that nobody carries out any more. Its last step was done when the final push is journaled: then only the
 * word of it was lost, and the attempt is complete. Else the next one starts from what it pushed, if it did (`lostWork`).
 */
async function loseAttempt(trx: Trx, deps: TicketDependencies, attempt: AttemptRow, ticket: TicketRow, reason: string): Promise<void> {
  const now = deps.now()
  const headSha = await publishedHead(trx, attempt)
  if (headSha !== null) {
    await handIn(trx, deps, { attempt, ticket }, { headSha, summary: attempt.summary ?? '' })
    return
  }
  const failureClass = reason === 'time_limit' ? 'agent' as const : 'infrastructure' as const
  const message = reason === 'time_limit' ? 'The attempt ran longer than its limit.' : 'The runner was not heard from within the lease, or was started anew.'
  const evidence: AttemptEvidence = { attemptId: attempt.id, number: attempt.number, failureClass, reason, findings: [], checkOutput: '', conflict: '' }
  if (ticket.state !== 'claimed' && ticket.state !== 'in_progress') {
    await moveAttempt(trx, attempt, 'cancelled', { ended_at: now, failure_class: failureClass, failure_reason: reason, failure_message: message })
    return
  }
  await moveAttempt(trx, attempt, 'failed', { failure_class: failureClass, failure_reason: reason, failure_message: message, evidence: JSON.stringify(evidence), ended_at: now })
  await afterFailedAttempt(trx, ticket, {
    failureClass, reason, evidence, to: 'ready', patch: continueFrom(attempt, attempt.wip_sha ?? earlierWork(attempt)),
    correlationId: attempt.correlation_id, now, random: deps.random(), attemptId: attempt.id,
  })
}

/** The head that the attempt pushed when its agent had finished, when both steps are journaled under its fence. */
async function publishedHead(trx: Trx, attempt: AttemptRow): Promise<string | null> {
  const steps = await trx.selectFrom('attempt_steps').select(['step', 'detail']).where('attempt_id', '=', attempt.id).where('fence', '=', attempt.fence).where('state', '=', 'done').where('step', 'in', ['agent', 'publish']).execute()
  const detail = new Map(steps.map((step) => [step.step, step.detail]))
  const head = detail.get('publish') ?? ''
  return detail.get('agent') === 'finished' && /^[0-9a-f]{40}$/.test(head) ? head : null
}

/** The next attempt starts from pushed work in progress, where there is some. */
export function continueFrom(attempt: AttemptRow, wipSha: string | null): { next_base_sha: string | null; next_start_sha: string | null } {
  return wipSha === null ? { next_base_sha: null, next_start_sha: null } : { next_base_sha: attempt.base_sha, next_start_sha: wipSha }
}

/** What the attempt was given to start from, when that was more than its base: a fault of the machine does not undo it. */
export function earlierWork(attempt: AttemptRow): string | null {
  return attempt.start_sha === '' || attempt.start_sha === attempt.base_sha ? null : attempt.start_sha
}

/** Work that the attempt before this one pushed before its runner was lost, and never handed in or journaled. */
async function lostWork(deps: AttemptSourceDependencies, attempt: AttemptRow, repositoryId: string): Promise<{ base_sha: string; start_sha: string } | null> {
  const before = (await attemptsOf(deps.db.read, attempt.ticket_id)).find((each) => each.number === attempt.number - 1)
  // Of these nobody could say any more, for certain, what they had pushed last.
  const unsure = before?.failure_class === 'infrastructure' || before?.failure_reason === 'time_limit'
  if (!before || !unsure || before.base_sha === '') return null
  // It was given more than that to start from meanwhile: a head that came back from its checks, or main.
  if (attempt.base_sha !== '' && attempt.start_sha !== (before.wip_sha ?? before.start_sha)) return null
  const pushed = await deps.repositories.resolve(repositoryId, `refs/swarm/attempts/${before.id}/work`)
  return pushed === null ? null : { base_sha: before.base_sha, start_sha: pushed }
}

/** Fixes, once, the commits that the attempt is based on and starts from, and makes the start fetchable by it. */
async function startingPoint(deps: AttemptSourceDependencies, attempt: AttemptRow, repositoryId: string): Promise<{ baseSha: string; startSha: string }> {
  let { base_sha: baseSha, start_sha: startSha } = attempt
  // The ref may be ahead of what was journaled: the runner pushes first and reports then.
  const lost = await lostWork(deps, attempt, repositoryId)
  if (baseSha === '' || (lost !== null && lost.start_sha !== startSha)) {
    const head = lost === null ? await deps.repositories.head(repositoryId) : ''
    const place = lost ?? { base_sha: head, start_sha: head }
    const fixed = await deps.db.write(async (trx) => {
      await trx.updateTable('attempts').set(place).where('id', '=', attempt.id).where('base_sha', '=', baseSha).where('start_sha', '=', startSha).execute()
      return await attemptById(trx, attempt.id)
    })
    baseSha = fixed?.base_sha ?? place.base_sha
    startSha = fixed?.start_sha ?? place.start_sha
  }
  // A resumed attempt goes on where its parked work was pushed.
  if (attempt.wip_sha !== null) startSha = attempt.wip_sha
  // Commits of earlier work are named by what ran in a microVM: one that is not there must not keep the ticket from going on.
  if (startSha !== baseSha && await deps.repositories.resolve(repositoryId, startSha) === null) startSha = baseSha
  await deps.repositories.setRef(repositoryId, `refs/swarm/attempts/${attempt.id}/start`, startSha)
  return { baseSha, startSha }
}
