import { ApiError } from '@swarm/contract/errors.ts'
import { ERROR_CODES } from '@swarm/core/error-codes.ts'
import { parseJson } from '@swarm/core/json.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { z } from 'zod'
import { EXIT } from './exit-codes.ts'

/** A fault that the user can mend: what happened and what to do, in words; never shown with a stack. */
export class UserError extends Error {
  readonly code: string
  readonly remedy: string
  readonly exitCode: number

  constructor(code: string, message: string, remedy: string, exitCode: number = EXIT.misuse) {
    super(message)
    this.name = 'UserError'
    this.code = code
    this.remedy = remedy
    this.exitCode = exitCode
  }
}

/** Ends a command that a signal interrupted. */
export class Interrupted extends Error {
  readonly exitCode: number
  constructor(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP') {
    super('interrupted')
    this.name = 'Interrupted'
    this.exitCode = signal === 'SIGINT' ? EXIT.interrupted : EXIT.terminated
  }
}

export interface Report {
  readonly code: string
  readonly message: string
  readonly remedy: string
  readonly exitCode: number
  /** Only for faults of ours. */
  readonly stack?: string
}

/** An error as a person is told of it. */
export function reportOf(error: unknown): Report {
  if (error instanceof UserError) return { code: error.code, message: error.message, remedy: error.remedy, exitCode: error.exitCode }
  if (error instanceof Interrupted) return { code: 'interrupted', message: 'Interrupted.', remedy: 'Run the same command again: it goes on where it was.', exitCode: error.exitCode }
  if (error instanceof DomainError) return { code: error.code, message: error.message, remedy: error.remedy, exitCode: exitCodeOf(error.status, error.fault) }
  if (error instanceof ApiError) return { code: error.code, message: error.message, remedy: error.remedy, exitCode: exitCodeOf(error.status, error.status < 500 ? 'user' : 'ours') }
  const shown = error instanceof Error ? error : new Error(String(error))
  return {
    code: 'internal', message: `Swarm failed: ${shown.message.split('\n')[0]}.`, remedy: 'This is a fault of Swarm; the lines above help whoever mends it.', exitCode: EXIT.failed,
    ...(shown.stack === undefined ? {} : { stack: shown.stack }),
  }
}

/** With a full stop, where a sentence follows and it has none. */
const ended = (text: string): string => (/[\p{L}\p{N}"]$/u.test(text) ? `${text}.` : text)

/** One paragraph. */
export function paragraph(report: Report): string {
  return `${ended(report.message.replace(/\s*\n\s*/g, ' ').trim())} ${report.remedy.replace(/\s*\n\s*/g, ' ').trim()} [${report.code}]`.trim()
}

function exitCodeOf(status: number, fault: 'user' | 'ours'): number {
  if (status === 401 || status === 403 && fault === 'ours' || status === 503) return EXIT.platform
  if (fault === 'ours') return EXIT.failed
  return status >= 500 && status !== 502 ? EXIT.platform : EXIT.misuse
}

/** The exit code of a failure that another program of Swarm reported by its code. */
export function exitCodeOfFailure(code: string): number {
  const known = Object.hasOwn(ERROR_CODES, code) ? ERROR_CODES[code as keyof typeof ERROR_CODES] : null
  return known === null ? EXIT.platform : exitCodeOf(known.status, known.fault)
}

/** What the processes of the platform print as one line of JSON when they cannot start. */
const Failure = z.object({ error: z.object({ code: z.string(), message: z.string(), remedy: z.string(), details: z.record(z.string(), z.unknown()).default({}) }) })

/** The failure that a process printed last on stderr, if it did. */
export function failureOf(stderr: string): z.infer<typeof Failure>['error'] | undefined {
  for (const line of stderr.trim().split('\n').reverse()) {
    const parsed = Failure.safeParse(parseJson(line))
    if (parsed.success) return parsed.data.error
  }
  return undefined
}
