import type { ErrorBody } from '@swarm/contract/errors.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { noteErrorCode } from './authorize.ts'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { hasZodFastifySchemaValidationErrors, isResponseSerializationError } from 'fastify-type-provider-zod'

/** Codes of PostgreSQL and of its sockets that say that it stops, starts or is not there. */
const DATABASE_GONE = new Set(['ECONNREFUSED', '57P01', '57P02', '57P03', '08000', '08003', '08006'])

/** Codes of a request whose client went away in its middle. */
const CLIENT_LEFT = new Set(['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE'])

/** The one place where errors become answers: our own by their code, the framework's by its code, anything else `internal`. */
export function toDomainError(error: unknown, request: Pick<FastifyRequest, 'id' | 'headers'>, bodyLimitBytes: number): DomainError {
  if (error instanceof DomainError) return error
  if (hasZodFastifySchemaValidationErrors(error)) return fromValidation(error)
  const code = error instanceof Error && 'code' in error ? String((error as FastifyError).code) : ''
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE': return new DomainError('body_too_large', { limitBytes: bodyLimitBytes })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE': return new DomainError('unsupported_media_type', { contentType: request.headers['content-type'] ?? '(none)' })
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return new DomainError('invalid_input', { problem: 'the body is not JSON', field: 'body' })
    case 'FST_ERR_RESPONSE_SERIALIZATION': return new DomainError('response_invalid', { correlationId: request.id }, { cause: error })
    default:
  }
  if (DATABASE_GONE.has(code)) return new DomainError('database_unavailable', { problem: code }, { cause: error })
  if (error instanceof SyntaxError && 'statusCode' in error && error.statusCode === 400) {
    return new DomainError('invalid_input', { problem: 'the body is not JSON', field: 'body' })
  }
  return new DomainError('internal', { correlationId: request.id }, { cause: error })
}

function fromValidation(error: FastifyError): DomainError {
  const part = error.validationContext ?? 'request'
  const [first] = error.validation ?? []
  const path = (first?.instancePath ?? '').split('/').filter((key) => key !== '')
  const field = [part === 'querystring' ? 'query' : part, ...path].join('.')
  const problems = (error.validation ?? []).map((each) => ({
    field: [part === 'querystring' ? 'query' : part, ...each.instancePath.split('/').filter((key) => key !== '')].join('.'),
    problem: each.message ?? 'not valid',
  }))
  return new DomainError('invalid_input', { field, problem: `${field}: ${first?.message ?? 'not valid'}`, problems })
}

export function errorBody(error: DomainError, correlationId: string): ErrorBody {
  // What went wrong inside is for the log; the caller gets the id to find it by.
  return { error: { code: error.code, message: error.message, remedy: error.remedy, details: error.details, correlationId } }
}

export function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply, bodyLimitBytes: number): FastifyReply {
  const domain = toDomainError(error, request, bodyLimitBytes)
  noteErrorCode(request, domain.code)
  if (domain.status >= 500) {
    // The framework's test looks into the value: a cause that is no object makes it throw.
    const cause = domain.cause instanceof Error && isResponseSerializationError(domain.cause) ? domain.cause.cause : domain.cause
    const left = request.socket.destroyed && cause instanceof Error && 'code' in cause && CLIENT_LEFT.has(String(cause.code))
    if (left) request.log.info('the client left before its request was answered')
    else request.log.error({ err: cause ?? domain, code: domain.code }, domain.message)
  }
  const { retryAfterSeconds } = domain.details
  if (domain.status === 429 && typeof retryAfterSeconds === 'number') reply.header('retry-after', retryAfterSeconds)
  if (domain.code === 'unauthenticated') {
    // git asks its user for a password only when it is offered Basic.
    reply.header('www-authenticate', request.url.startsWith('/git/') ? 'Basic realm="swarm"' : 'Bearer realm="swarm"')
  }
  return reply.code(domain.status).type('application/json').serializer(JSON.stringify).send(errorBody(domain, request.id))
}
