import type { Trx } from '../../db/unit.ts'
import { moveAttempt } from './commands.ts'
import type { TicketDependencies } from './commands.ts'
import { inTheWay } from './in-the-way.ts'
import { activeTickets, attemptInState, claimCandidates, lockDispatch, patchTicket } from './queries.ts'
import type { AttemptRow, TicketRow } from './queries.ts'
import { moveTicket } from './transition.ts'

/** Candidates looked at per claim: enough that one with free files is found behind many that overlap. */
const CANDIDATES = 64
/**
 * What an attempt may take besides its agent: the image or template when it is the first to need it, the setup command (15
 * minutes) and saving its work (5 minutes). The runner ends an agent at its limit and saves; this deadline is for a runner
 * that does neither, since from then on nothing of the attempt can be pushed any more.
 */
const OVERTIME_MS = 30 * 60_000

export interface ClaimRules {
  readonly leaseTtlMs: number
  /** Tickets worked on at once over all projects. */
  readonly concurrency: number
  concurrencyOf(trx: Trx, projectId: string): Promise<number>
  agentVersion(trx: Trx, name: string): Promise<{ version: number; minutes: number } | undefined>
}

/**
 * Takes the next ticket for a runner: ready, dependencies merged, below the limits, and not expected to write a file that
 * running work is expected to write. Makes its attempt under a lease, with the next fence of the ticket.
 */
export async function claimTicket(trx: Trx, deps: TicketDependencies, rules: ClaimRules, runnerId: string, claimKey: string): Promise<AttemptRow | null> {
  await lockDispatch(trx)
  const now = deps.now()
  const active = await activeTickets(trx)
  const working = active.filter((ticket) => ticket.state === 'claimed' || ticket.state === 'in_progress')
  if (working.length >= rules.concurrency) return null
  for (const ticket of await claimCandidates(trx, now, CANDIDATES)) {
    const inProject = working.filter((other) => other.project_id === ticket.project_id).length
    if (inProject >= await rules.concurrencyOf(trx, ticket.project_id)) continue
    if (inTheWay(ticket, active)) continue
    const agent = await rules.agentVersion(trx, ticket.agent_name)
    if (!agent) {
      await moveTicket(trx, ticket, 'on_hold', { reason: `there is no agent named ${ticket.agent_name}; register it, then retry`, correlationId: ticket.id, now })
      continue
    }
    return await startAttempt(trx, deps, rules, { ticket, runnerId, claimKey, agent, now })
  }
  return null
}

async function startAttempt(trx: Trx, deps: TicketDependencies, rules: ClaimRules, input: {
  ticket: TicketRow; runnerId: string; claimKey: string; agent: { version: number; minutes: number }; now: number
}): Promise<AttemptRow> {
  const { ticket, now } = input
  const parked = await attemptInState(trx, ticket.id, 'parked')
  const fence = ticket.fence + 1
  const lease = {
    fence, runner_id: input.runnerId, claim_key: input.claimKey, vm_id: null, lease_expires_at: now + rules.leaseTtlMs,
    deadline_at: now + Math.round(input.agent.minutes * 60_000) + OVERTIME_MS, activity_at: now, status_sequence: -1, stop_reason: null,
  }
  if (parked) {
    const attempt = await moveAttempt(trx, parked, 'running', lease)
    await moveTicket(trx, ticket, 'claimed', { patch: { fence, retry_at: null }, correlationId: attempt.correlation_id, now, attemptId: attempt.id })
    return attempt
  }
  const attempt: AttemptRow = {
    id: deps.makeId('attempt'), ticket_id: ticket.id, project_id: ticket.project_id, number: ticket.attempt_count + 1, state: 'running',
    agent_name: ticket.agent_name, agent_version: input.agent.version, correlation_id: '', base_sha: ticket.next_base_sha ?? '', start_sha: ticket.next_start_sha ?? '',
    head_sha: null, wip_sha: null, summary: null, failure_class: null, failure_reason: null, failure_message: null, evidence: null, gate: null,
    created_at: now, ended_at: null, ...lease,
  }
  // From here to the guest and back, everything about this attempt is found by its own id.
  attempt.correlation_id = attempt.id
  await trx.insertInto('attempts').values(attempt).execute()
  await patchTicket(trx, ticket.id, { attempt_count: attempt.number })
  await moveTicket(trx, ticket, 'claimed', { patch: { fence, retry_at: null }, correlationId: attempt.correlation_id, now, attemptId: attempt.id })
  return attempt
}
