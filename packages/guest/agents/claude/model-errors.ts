import { APIConnectionError, APIConnectionTimeoutError, APIError, AnthropicError } from '@anthropic-ai/sdk/error'
import { AttemptEnded } from '../template.ts'

/**
 * An answer that began, or should have, and did not reach its end. None of its tools has run, since tools run when all of it
 * is there: the same turn may be asked for again.
 */
export class BrokenAnswer extends AttemptEnded {}

/**
 * Turns a failed model call into the end of the attempt. What was not answered was retried by the gateway, so it is final here;
 * 402 and codes that name a budget are `budget`, everything else is `model`.
 */
export function endOfModelCall(error: unknown): AttemptEnded {
  if (error instanceof AttemptEnded) return error
  if (error instanceof APIError && error.status !== undefined) {
    const code = errorCode(error)
    const message = `The model call failed with ${error.status}${code === null ? '' : ` ${code}`}: ${error.apiMessage ?? error.message}`
    if (error.status === 402 || (code !== null && /budget/.test(code))) return new AttemptEnded('budget', code ?? 'budget_exceeded', message)
    // The gateway's word that nobody waits for this attempt any more: no fault of the model.
    if (code === 'attempt_over' || code === 'stale_fence') return new AttemptEnded('infrastructure', code, message)
    return new AttemptEnded('model', code ?? `http_${error.status}`, message)
  }
  if (error instanceof APIConnectionTimeoutError) return new BrokenAnswer('model', 'silence', 'The model did not answer in time.')
  if (error instanceof APIConnectionError) return new AttemptEnded('model', 'unreachable', `The model could not be reached: ${causes(error)}`)
  if (error instanceof APIError) {
    // An error event in the middle of a stream has no status.
    const code = errorCode(error) ?? 'stream_error'
    const message = `The model broke off: ${error.apiMessage ?? error.message}`
    return /budget/.test(code) ? new AttemptEnded('budget', code, message) : new BrokenAnswer('model', code, message)
  }
  if (error instanceof SyntaxError) return new AttemptEnded('model', 'malformed_output', `The model sent an event that is no JSON: ${error.message}`)
  if (error instanceof AnthropicError || error instanceof TypeError) return new BrokenAnswer('model', 'cut_stream', `The answer of the model broke off: ${causes(error)}`)
  throw error
}

/** Our gateway names its own codes in `error.code`; the Messages API has `error.type`. */
function errorCode(error: APIError): string | null {
  const body: unknown = error.error
  const inner = isRecord(body) && isRecord(body['error']) ? body['error'] : body
  if (isRecord(inner) && typeof inner['code'] === 'string') return inner['code']
  return error.type
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function causes(error: Error): string {
  const parts: string[] = []
  for (let current: unknown = error; current instanceof Error; current = current.cause) parts.push(current.message)
  return parts.join(': ')
}
