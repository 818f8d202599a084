import { ERROR_CODES, type ErrorCode } from './error-codes.ts'

/**
 * The one error that our own code throws on purpose. `code` names an entry of `ERROR_CODES`, which holds the HTTP status,
 * whose fault it is, and the remedy; `details` are the facts of this occurrence, safe to show (never a secret).
 */
export class DomainError extends Error {
  readonly code: ErrorCode
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, details: Record<string, unknown> = {}, options?: { cause?: unknown }) {
    super(fill(ERROR_CODES[code].message, details), options)
    this.name = 'DomainError'
    this.code = code
    this.details = details
  }

  get status(): number {
    return ERROR_CODES[this.code].status
  }

  /** What the reader can do about it, with the details filled in. */
  get remedy(): string {
    return fill(ERROR_CODES[this.code].remedy, this.details)
  }

  /** `user`: the caller can mend it; `ours`: a fault of Swarm or of the machine it runs on. */
  get fault(): 'user' | 'ours' {
    return ERROR_CODES[this.code].fault
  }
}

function fill(text: string, details: Readonly<Record<string, unknown>>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in details ? String(details[name]) : whole))
}
