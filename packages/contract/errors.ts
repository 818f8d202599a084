import { z } from 'zod'

/** The body of every answer that is not a success. */
export const ErrorBody = z.object({
  error: z.object({
    /** A key of ERROR_CODES (docs/errors.md explains each). */
    code: z.string(),
    message: z.string(),
    /** What the caller can do about it. */
    remedy: z.string(),
    details: z.record(z.string(), z.unknown()),
    correlationId: z.string(),
  }),
})
export type ErrorBody = z.infer<typeof ErrorBody>

/** An error that the server answered with, as its clients see it. */
export class ApiError extends Error {
  readonly code: string
  readonly status: number
  readonly remedy: string
  readonly details: Readonly<Record<string, unknown>>
  readonly correlationId: string
  /** ms to wait before trying again, when the server said so (429, 503). */
  readonly retryAfterMs: number | undefined

  constructor(status: number, error: ErrorBody['error'], retryAfterMs?: number) {
    super(error.message)
    this.name = 'ApiError'
    this.status = status
    this.code = error.code
    this.remedy = error.remedy
    this.details = error.details
    this.correlationId = error.correlationId
    this.retryAfterMs = retryAfterMs
  }
}
