import { overlap } from '@swarm/core/tickets/predicted-files.ts'
import type { ActiveTicket, TicketRow } from './queries.ts'

/** The first active ticket that is expected to write a file of this one, and those files; undefined when none is in the way. */
export function inTheWay(ticket: TicketRow, active: readonly ActiveTicket[]): { other: ActiveTicket; shared: string[] } | undefined {
  const files = JSON.parse(ticket.predicted_files) as string[]
  for (const other of active) {
    if (other.id === ticket.id || other.repository_id !== ticket.repository_id) continue
    const shared = overlap(files, other.files)
    if (shared.length > 0) return { other, shared }
  }
  return undefined
}
