import { overlap, stillDelays } from '@swarm/core/tickets/predicted-files.ts'
import type { ExpectedFiles } from '@swarm/core/tickets/predicted-files.ts'
import type { ActiveTicket, TicketRow } from './queries.ts'

/** The first active ticket that is expected to write a file of this one and still delays it, and those files; undefined when none is in the way. */
export function inTheWay(
  ticket: Pick<TicketRow, 'id' | 'repository_id' | 'ready_at' | 'retry_at'>, files: ExpectedFiles, active: readonly ActiveTicket[], now: number,
): { other: ActiveTicket; shared: string[] } | undefined {
  const waitedMs = now - Math.max(ticket.ready_at ?? now, ticket.retry_at ?? 0)
  for (const other of active) {
    if (other.id === ticket.id || other.repository_id !== ticket.repository_id) continue
    const { files: shared, likelihood } = overlap(files, other.files)
    if (shared.length > 0 && stillDelays(likelihood, waitedMs, { state: other.state, sinceMs: now - other.updated_at })) return { other, shared }
  }
  return undefined
}
