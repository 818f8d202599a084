/**
 * The one table of a design session's transitions: state → action → next state.
 *
 * `clarifying` is where a person is asked, one question after the other; it is passed over when nothing has to be asked.
 * `ready_for_docs` is where the designer works (spec card, then plan). `revise` is a new version of the spec: of one that is still
 * being clarified it is asked about anew, of any other it is planned again, also while it is built. `keep` takes such a change of
 * a build back; `retry` takes up a failed design where its journal ends, `reclarify` a failed clarification; `resume` is the same
 * for a session whose tickets exist already.
 */
export const SESSION_TRANSITIONS = {
  input: { clarify: 'clarifying', design: 'ready_for_docs', fail: 'failed', cancel: 'cancelled' },
  clarifying: { design: 'ready_for_docs', revise: 'clarifying', fail: 'failed', cancel: 'cancelled' },
  ready_for_docs: { review: 'reviewing', revise: 'ready_for_docs', keep: 'building', fail: 'failed', cancel: 'cancelled' },
  reviewing: { approve: 'approved', revise: 'ready_for_docs', keep: 'building', fail: 'failed', cancel: 'cancelled' },
  approved: { build: 'building', revise: 'ready_for_docs', keep: 'building', fail: 'failed', cancel: 'cancelled' },
  // What is being built is stopped ticket by ticket; the session then ends by what became of them.
  building: { revise: 'ready_for_docs', complete: 'completed', fail: 'failed' },
  completed: {},
  failed: { retry: 'ready_for_docs', reclarify: 'clarifying', resume: 'building', keep: 'building', revise: 'ready_for_docs', cancel: 'cancelled' },
  cancelled: {},
} as const

export type SessionState = keyof typeof SESSION_TRANSITIONS
export const SESSION_ACTIONS = ['clarify', 'design', 'review', 'approve', 'revise', 'build', 'complete', 'fail', 'cancel', 'retry', 'reclarify', 'resume', 'keep'] as const
export type SessionAction = (typeof SESSION_ACTIONS)[number]

export const SESSION_STATES = Object.keys(SESSION_TRANSITIONS) as SessionState[]
/** States in which the designer has work to do, or may have: what is resumed at start. */
export const DESIGNING_STATES = ['input', 'clarifying', 'ready_for_docs'] as const satisfies readonly SessionState[]

/** The state that an action leads to, or null where it is not possible. */
export function sessionNext(state: SessionState, action: SessionAction): SessionState | null {
  const row: Partial<Record<SessionAction, SessionState>> = SESSION_TRANSITIONS[state]
  return row[action] ?? null
}

type Asked = { readonly state: SessionState }
/** `sessionCan.retry(session)`: whether the action is possible in the session's state; buttons and guards ask here. */
export const sessionCan = Object.fromEntries(
  SESSION_ACTIONS.map((action) => [action, (session: Asked) => sessionNext(session.state, action) !== null]),
) as Record<SessionAction, (session: Asked) => boolean>
