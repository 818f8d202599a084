import type { Trx } from '../../db/unit.ts'
import { moveAttempt } from './commands.ts'
import type { TicketDependencies } from './commands.ts'
import type { AttemptRow, TicketRow } from './queries.ts'
import { moveTicket } from './transition.ts'

/** From the pushed head on, the gate and the checks decide. @param held as they are with the ticket locked */
export async function handIn(trx: Trx, deps: TicketDependencies, held: { attempt: AttemptRow; ticket: TicketRow }, report: { headSha: string; summary: string }): Promise<void> {
  const { attempt } = held
  let { ticket } = held
  const now = deps.now()
  if (ticket.state === 'claimed') ticket = await moveTicket(trx, ticket, 'in_progress', { correlationId: attempt.correlation_id, now, attemptId: attempt.id })
  if (ticket.state !== 'in_progress') {
    // Held or cancelled meanwhile: the work is kept, and a retry starts from it.
    await moveAttempt(trx, attempt, 'cancelled', { wip_sha: report.headSha, head_sha: report.headSha, summary: report.summary, ended_at: now, failure_reason: attempt.stop_reason ?? ticket.state, lease_expires_at: null })
    await trx.updateTable('tickets').set({ next_base_sha: attempt.base_sha, next_start_sha: report.headSha }).where('id', '=', ticket.id).where('fence', '=', attempt.fence).execute()
    return
  }
  await moveAttempt(trx, attempt, 'gating', { head_sha: report.headSha, summary: report.summary, lease_expires_at: null })
  await moveTicket(trx, ticket, 'verifying', { correlationId: attempt.correlation_id, now, attemptId: attempt.id })
}
