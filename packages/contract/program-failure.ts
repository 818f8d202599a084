import { DomainError } from '@swarm/core/errors.ts'

/** What a program of Swarm says about the fault that ended it: the field `error` of one JSON line on its stderr. */
export interface ProgramFailure { readonly code: string; readonly message: string; readonly remedy: string; readonly details: Readonly<Record<string, unknown>> }

/** A known error as it is; anything else is ours, with its stack. */
export function programFailure(error: unknown): ProgramFailure {
  if (error instanceof DomainError) return { code: error.code, message: error.message, remedy: error.remedy, details: error.details }
  return { code: 'internal', message: error instanceof Error ? error.stack ?? error.message : String(error), remedy: 'This is a fault of Swarm.', details: {} }
}
