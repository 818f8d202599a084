import type { ExpectedFiles } from '@swarm/core/tickets/predicted-files.ts'
import type { Trx } from '../../db/unit.ts'
import { moveAttempt } from './commands.ts'
import type { TicketDependencies } from './commands.ts'
import { expectedFiles } from './file-history.ts'
import { inTheWay } from './in-the-way.ts'
import { activeTickets, attemptInState, claimCandidates, firstOfEachProject, lockDispatch } from './queries.ts'
import type { AttemptRow, TicketRow } from './queries.ts'
import { moveTicket } from './transition.ts'

/** Candidates of one project looked at per claim, when its first overlaps with running work: enough that one with free files is found behind many that do not have them. */
const CANDIDATES = 200
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
 * running work is expected to write. Projects with the fewest tickets at work come first, then priority, then age. Makes its
 * attempt under a lease, with the next fence of the ticket. What it costs does not depend on how many tickets there are.
 */
export async function claimTicket(trx: Trx, deps: TicketDependencies, rules: ClaimRules, runnerId: string, claimKey: string): Promise<AttemptRow | null> {
  await lockDispatch(trx)
  const now = deps.now()
  const active = await activeTickets(trx, now)
  const working = active.filter((ticket) => ticket.state === 'claimed' || ticket.state === 'in_progress')
  if (working.length >= rules.concurrency) return null
  const inProject = new Map<string, number>()
  for (const { project_id: id } of working) inProject.set(id, (inProject.get(id) ?? 0) + 1)
  const workingIn = (ticket: TicketRow): number => inProject.get(ticket.project_id) ?? 0
  const firsts = (await firstOfEachProject(trx, now)).toSorted((a, b) =>
    workingIn(a) - workingIn(b) || b.priority - a.priority || (a.ready_at ?? 0) - (b.ready_at ?? 0) || (a.id < b.id ? -1 : 1))

  /** Undefined when something is in its way, or it cannot be worked on at all. */
  const tryOne = async (ticket: TicketRow, files: ExpectedFiles): Promise<AttemptRow | undefined> => {
    if (inTheWay(ticket, files, active, now)) return undefined
    const agent = await rules.agentVersion(trx, ticket.agent_name)
    if (agent) return await startAttempt(trx, deps, rules, { ticket, files, runnerId, claimKey, agent, now })
    await moveTicket(trx, ticket, 'on_hold', { reason: `there is no agent named ${ticket.agent_name}; register it, then retry`, correlationId: ticket.id, now })
    return undefined
  }
  for (const first of firsts) {
    if (workingIn(first) >= await rules.concurrencyOf(trx, first.project_id)) continue
    const attempt = await tryOne(first, (await expectedFiles(trx, [first])).get(first.id)!)
    if (attempt) return attempt
    const others = (await claimCandidates(trx, first.project_id, now, CANDIDATES)).filter((ticket) => ticket.id !== first.id)
    const files = await expectedFiles(trx, others)
    for (const ticket of others) {
      const other = await tryOne(ticket, files.get(ticket.id)!)
      if (other) return other
    }
  }
  return null
}

async function startAttempt(trx: Trx, deps: TicketDependencies, rules: ClaimRules, input: {
  ticket: TicketRow; files: ExpectedFiles; runnerId: string; claimKey: string; agent: { version: number; minutes: number }; now: number
}): Promise<AttemptRow> {
  const { ticket, now } = input
  // What is expected now is what others avoid from now on.
  const taken = { retry_at: null, predicted_files: JSON.stringify(input.files) }
  const parked = ticket.attempt_count === 0 ? undefined : await attemptInState(trx, ticket.id, 'parked')
  const fence = ticket.fence + 1
  const lease = {
    fence, runner_id: input.runnerId, claim_key: input.claimKey, vm_id: null, lease_expires_at: now + rules.leaseTtlMs,
    deadline_at: now + Math.round(input.agent.minutes * 60_000) + OVERTIME_MS, activity_at: now, status_sequence: -1, stop_code: null, stop_reason: null,
  }
  if (parked) {
    const attempt = await moveAttempt(trx, parked, 'running', lease)
    await moveTicket(trx, ticket, 'claimed', { patch: { ...taken, fence }, correlationId: attempt.correlation_id, now, attemptId: attempt.id })
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
  await moveTicket(trx, ticket, 'claimed', { patch: { ...taken, fence, attempt_count: attempt.number }, correlationId: attempt.correlation_id, now, attemptId: attempt.id })
  return attempt
}
