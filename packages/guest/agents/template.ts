import type { z } from 'zod'
import type { AgentEvent, AgentOutcome, AgentTask } from '@swarm/contract/agent-protocol.ts'

/** An event as a template gives it (defaults not yet filled in). */
export type AgentEventInput = z.input<typeof AgentEvent>
/** Reports one event; it is written as one JSON line at once. Never throws. */
export type Emit = (event: Exclude<AgentEventInput, AgentOutcome>) => void
export type TaskOf<Name extends AgentTask['config']['template']> = AgentTask & { config: Extract<AgentTask['config'], { template: Name }> }

/**
 * An agent template: the way in which an agent works. One folder of `agents/`, one value of this type, one line in main.ts.
 *
 * `run` does the work of `task` inside `task.workspace` and resolves with the outcome:
 * - `finished`: the work lies in the work tree. The runner commits it; the template need not.
 * - `question`: a person must answer first. What is needed to go on comes back as `task.resume`.
 * - `failed`: over, with whose fault it was (`model`, `agent`, `budget`, `infrastructure`), a reason in snake_case and a message.
 * Faults that belong to the work (a command that fails, a wrong status) are outcomes, not exceptions; a rejection of `run`
 * means a fault of the template itself and ends the attempt as `failed infrastructure template_error`.
 *
 * `signal` fires when the wall clock of the attempt is over or the runner ends it: stop what runs (process groups too) and
 * settle soon. The outcome is then made from `signal.reason`, whatever `run` returns.
 */
export interface AgentTemplate<Name extends AgentTask['config']['template']> {
  readonly name: Name
  run(task: TaskOf<Name>, emit: Emit, signal: AbortSignal): Promise<AgentOutcome>
}

/** Why an attempt ended; thrown or used as an abort reason where there is no other way to say it. */
export class AttemptEnded extends Error {
  readonly outcome: Extract<AgentOutcome, { type: 'failed' }>
  constructor(failureClass: Extract<AgentOutcome, { type: 'failed' }>['failureClass'], reason: string, message: string) {
    super(message)
    this.name = 'AttemptEnded'
    this.outcome = { type: 'failed', failureClass, reason, message }
  }
}

export function failed(failureClass: Extract<AgentOutcome, { type: 'failed' }>['failureClass'], reason: string, message: string): AgentOutcome {
  return { type: 'failed', failureClass, reason, message }
}
