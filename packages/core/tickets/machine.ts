/**
 * The states of a ticket and, for each, the states it may become. This table is the only place that knows: the service
 * refuses everything else, and the CLI's and dashboard's offers come from `ticketCan`.
 * *Blocked* is derived (a `ready` ticket with an unfinished dependency), never stored.
 */
export const TICKET_TRANSITIONS = {
  draft: ['ready', 'cancelled'],
  ready: ['claimed', 'on_hold', 'cancelled'],
  claimed: ['in_progress', 'ready', 'on_hold', 'cancelled'],
  in_progress: ['verifying', 'ready', 'changes_requested', 'on_hold', 'cancelled'],
  verifying: ['in_review', 'ready', 'changes_requested', 'on_hold', 'cancelled'],
  in_review: ['merging', 'changes_requested', 'on_hold', 'cancelled'],
  changes_requested: ['claimed', 'on_hold', 'cancelled'],
  merging: ['done', 'changes_requested', 'on_hold'],
  done: [],
  // in_review: held there or while merging, the same head is offered again. done: the merge had already reached main when a person held the ticket.
  on_hold: ['ready', 'in_review', 'done', 'failed', 'cancelled'],
  failed: ['ready', 'cancelled'],
  cancelled: [],
} as const satisfies Record<string, readonly string[]>

export type TicketState = keyof typeof TICKET_TRANSITIONS

export const TICKET_STATES = Object.keys(TICKET_TRANSITIONS) as TicketState[]
/** States from which a runner may claim. */
export const CLAIMABLE = ['ready', 'changes_requested'] as const satisfies readonly TicketState[]
/** States in which an attempt or the queue works on the ticket; their predicted files are taken. */
export const ACTIVE = ['claimed', 'in_progress', 'verifying', 'in_review', 'merging'] as const satisfies readonly TicketState[]
export const TERMINAL = ['done', 'failed', 'cancelled'] as const satisfies readonly TicketState[]

export function mayBecome(from: TicketState, to: TicketState): boolean {
  return (TICKET_TRANSITIONS[from] as readonly TicketState[]).includes(to)
}

/** Whether nobody has begun with the ticket, so that it can be taken back without losing work. */
export function notStarted(ticket: { readonly state: TicketState; readonly attempts: number }): boolean {
  return ticket.attempts === 0 && (ticket.state === 'draft' || ticket.state === 'ready' || ticket.state === 'on_hold')
}

/** What a person may do with a ticket in this state. */
export const ticketCan = {
  retry: (state: TicketState): boolean => state === 'on_hold' || state === 'failed',
  hold: (state: TicketState): boolean => mayBecome(state, 'on_hold'),
  cancel: (state: TicketState): boolean => mayBecome(state, 'cancelled'),
}
