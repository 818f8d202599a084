import { DomainError } from '@swarm/core/errors.ts'
import type { FailureClass } from '@swarm/contract/runner-protocol.ts'

/** How a piece of work ended without a result; goes to the server as it is. */
export class WorkFailure extends Error {
  readonly failureClass: FailureClass
  readonly reason: string

  constructor(failureClass: FailureClass, reason: string, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'WorkFailure'
    this.failureClass = failureClass
    this.reason = reason
  }
}

/** Whatever was thrown, as a failure: what we did not foresee is a fault of the infrastructure, never the agent's. */
export function asFailure(error: unknown): WorkFailure {
  if (error instanceof WorkFailure) return error
  const reason = error instanceof DomainError ? error.code : 'runner_fault'
  return new WorkFailure('infrastructure', reason, error instanceof Error ? error.message : String(error), { cause: error })
}
