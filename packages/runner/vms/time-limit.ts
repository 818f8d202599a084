import { DomainError } from '@swarm/core/errors.ts'

/** @throws DomainError vm_start_failed with `problem` when the work takes longer */
export async function withTimeout<Value>(work: Promise<Value>, timeoutMs: number, problem: () => string): Promise<Value> {
  const aborted = Promise.withResolvers<never>()
  const timer = setTimeout(() => aborted.reject(new DomainError('vm_start_failed', { problem: problem() })), timeoutMs)
  return Promise.race([work, aborted.promise]).finally(() => clearTimeout(timer))
}
