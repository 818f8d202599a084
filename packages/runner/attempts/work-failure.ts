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
  if (error instanceof DomainError) {
    // How a microVM ended says what to look for: vm_stuck, vm_crashed, …
    const reason = error.code === 'vm_ended' ? `vm_${String(error.details['reason'])}` : error.code
    return new WorkFailure('infrastructure', reason, `${error.message} ${error.remedy}`, { cause: error })
  }
  return new WorkFailure('infrastructure', 'runner_fault', error instanceof Error ? error.message : String(error), { cause: error })
}
