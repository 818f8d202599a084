import { notStarted, type TicketState } from '@swarm/core/tickets/machine.ts'
import { signal } from '../../db/unit.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { TicketCommands, TicketReplan } from '../../ports.ts'
import { requireTicket } from './commands.ts'
import { patchTicket, replaceDependencies, ticketKeysOf, unfinishedAmong } from './queries.ts'
import { moveTicket } from './transition.ts'

/**
 * Changes the tickets of a session that is being built, as its new plan says: cancels those that were dropped and that nobody
 * has started, makes new ones, and has the others that are not started wait for what they wait for now. A dropped ticket that
 * was started meanwhile goes on; new ones for the same requirements wait for it. One unit: nothing of it, or all.
 */
export function createReplan(deps: { now: () => number }, createMany: TicketCommands['createMany']): TicketReplan {
  return async (trx, input) => {
    const ids = new Map((await ticketKeysOf(trx, input.sessionId)).map(({ key, id }) => [key, id]))
    const left = new Map<string, ReadonlySet<string>>()
    const cancelled: string[] = []
    for (const key of input.drop) {
      const ticket = await requireTicket(trx, ids.get(key) ?? key)
      if (ticket.state === 'cancelled') continue
      if (!notStarted({ state: ticket.state as TicketState, attempts: ticket.attempt_count })) {
        left.set(ticket.id, new Set((JSON.parse(ticket.requirements) as { id: string }[]).map(({ id }) => id)))
        continue
      }
      await moveTicket(trx, ticket, 'cancelled', { reason: 'the spec has changed', correlationId: input.correlationId, now: deps.now() })
      cancelled.push(key)
    }
    const fresh = new Set(input.tickets.map(({ key }) => key))
    const made = await createMany(trx, {
      projectId: input.projectId, repositoryId: input.repositoryId, sessionId: input.sessionId, correlationId: input.correlationId,
      tickets: input.tickets.map((ticket) => ({
        ...ticket, dependsOn: [
          ...ticket.dependsOn.map((key) => (fresh.has(key) ? key : ids.get(key) ?? key)),
          ...[...left].filter(([, requirements]) => ticket.requirements.some(({ id }) => requirements.has(id))).map(([id]) => id),
        ],
      })),
    })
    for (const [key, waitsFor] of input.order) await reorder(trx, ids.get(key) ?? key, waitsFor.map((other) => made.get(other) ?? ids.get(other) ?? other), input.correlationId)
    signal(trx, 'work')
    return { made, cancelled, left: [...ids].filter(([, id]) => left.has(id)).map(([key]) => key) }
  }
}

async function reorder(trx: Trx, ticketId: string, parents: readonly string[], correlationId: string): Promise<void> {
  const ticket = await requireTicket(trx, ticketId)
  if (!notStarted({ state: ticket.state as TicketState, attempts: ticket.attempt_count })) return
  // Locks the parents that are not done: none is merged between being counted and the commit.
  const open = await unfinishedAmong(trx, parents)
  await replaceDependencies(trx, ticketId, parents)
  await patchTicket(trx, ticketId, { open_dependencies: open.size })
  await appendEvents(trx, [{
    type: 'ticket:activity', projectId: ticket.project_id, subject: { kind: 'ticket', id: ticketId }, correlationId,
    data: { sessionId: ticket.session_id, dependsOn: parents, reason: 'the spec has changed' },
  }])
}
