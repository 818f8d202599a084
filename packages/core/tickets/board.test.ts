import { expect, test } from 'vitest'
import { BOARD_COLUMNS, refusedEdit, TICKET_EDITS } from './board.ts'
import { TERMINAL, TICKET_STATES } from './machine.ts'

test('every state of a ticket is in exactly one column of the board', () => {
  expect(Object.values(BOARD_COLUMNS).flat().toSorted()).toEqual(TICKET_STATES.toSorted())
})

test('text can be changed before work begins, the priority until nothing moves the ticket any more', () => {
  for (const state of TICKET_STATES) {
    const before = state === 'draft' || state === 'ready'
    expect([state, refusedEdit(state, ['priority'])]).toEqual([state, state !== 'failed' && (TERMINAL as readonly string[]).includes(state) ? 'priority' : null])
    expect([state, refusedEdit(state, ['title'])]).toEqual([state, before ? null : 'title'])
    expect([state, refusedEdit(state, ['description'])]).toEqual([state, before ? null : 'description'])
  }
  expect(Object.keys(TICKET_EDITS)).toEqual(['title', 'description', 'priority'])
})
