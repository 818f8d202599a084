import { describe, expect, it } from 'vitest'
import { DESIGNING_STATES, SESSION_ACTIONS, SESSION_STATES, SESSION_TRANSITIONS, sessionCan, sessionNext } from './session.ts'

describe('a design session', () => {
  it('walks from input to completed', () => {
    let state = SESSION_STATES[0] ?? 'failed'
    for (const action of ['clarify', 'design', 'review', 'revise', 'review', 'approve', 'revise', 'review', 'approve', 'build', 'complete'] as const) state = sessionNext(state, action) ?? 'failed'
    expect(state).toBe('completed')
  })
  it('allows in every state exactly what the table names', () => {
    for (const state of SESSION_STATES) {
      for (const action of SESSION_ACTIONS) {
        const next = Object.entries(SESSION_TRANSITIONS[state]).find(([name]) => name === action)?.[1] ?? null
        expect(sessionNext(state, action)).toBe(next)
        expect(sessionCan[action]({ state })).toBe(next !== null)
        if (next !== null) expect(SESSION_STATES).toContain(next)
      }
    }
  })
  it('can be edited at every state but the first and the ends, and goes back to the build when a change is taken back', () => {
    expect(SESSION_STATES.filter((state) => !sessionCan.revise({ state }))).toEqual(['input', 'completed', 'cancelled'])
    expect(sessionNext('clarifying', 'revise')).toBe('clarifying')
    for (const state of ['ready_for_docs', 'reviewing', 'approved', 'failed'] as const) expect(sessionNext(state, 'keep')).toBe('building')
  })
  it('leaves completed and cancelled for good, and can be given up anywhere before the build', () => {
    expect(SESSION_ACTIONS.filter((action) => sessionCan[action]({ state: 'completed' }) || sessionCan[action]({ state: 'cancelled' }))).toEqual([])
    expect(SESSION_STATES.filter((state) => !sessionCan.cancel({ state }))).toEqual(['building', 'completed', 'cancelled'])
    for (const state of DESIGNING_STATES) expect(sessionCan.fail({ state })).toBe(true)
  })
})
