import type { TicketState } from './machine.ts'

/** Columns of the board, from left to right, and the states of the tickets in each: every state is in exactly one. */
export const BOARD_COLUMNS = {
  draft: ['draft'],
  ready: ['ready', 'changes_requested'],
  working: ['claimed', 'in_progress'],
  checking: ['verifying'],
  review: ['in_review'],
  merging: ['merging'],
  stopped: ['on_hold', 'failed'],
  done: ['done'],
  cancelled: ['cancelled'],
} as const satisfies Record<string, readonly TicketState[]>

export type BoardColumn = keyof typeof BOARD_COLUMNS
export const BOARD_COLUMN_NAMES = Object.keys(BOARD_COLUMNS) as [BoardColumn, ...BoardColumn[]]

/** What a person may change of a ticket in this state: its text before work on it begins, its priority until it is over. */
export const TICKET_EDITS = {
  title: ['draft', 'ready'],
  description: ['draft', 'ready'],
  priority: ['draft', 'ready', 'claimed', 'in_progress', 'verifying', 'in_review', 'changes_requested', 'merging', 'on_hold', 'failed'],
} as const satisfies Record<string, readonly TicketState[]>
export type TicketEdit = keyof typeof TICKET_EDITS

/** The first of these fields that cannot be changed in this state, or null. */
export function refusedEdit(state: TicketState, fields: readonly TicketEdit[]): TicketEdit | null {
  return fields.find((field) => !(TICKET_EDITS[field] as readonly TicketState[]).includes(state)) ?? null
}
