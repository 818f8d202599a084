import { once } from 'node:events'
import type { OutgoingHttpHeaders } from 'node:http'
import { createMessage } from '@swarm/contract/endpoints/model.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { errorBody } from '../../http/error-mapper.ts'
import { register, type HttpTarget } from '../../http/register.ts'
import type { Principal } from '../../http/tokens.ts'
import type { ModelGateway } from './gateway.ts'
import type { Caller } from './ledger.ts'

/** The Messages API's own limit of a request body. */
const BODY_LIMIT_BYTES = 32 * 1024 * 1024

/** @param projectByName the id of a project given by id or slug; throws not_found. */
export function addModelRoutes(http: HttpTarget, gateway: ModelGateway, projectByName: (name: string) => Promise<string>): void {
  register(http, createMessage, async ({ principal, request, reply, signal, body, correlationId }) => {
    const output = reply.raw
    try {
      const caller = await callerOf(principal, request.headers, correlationId, projectByName)
      await gateway.call(body, caller, {
        // From the first byte on the answer is the model's, and goes around the framework: an answer that is cut must end as a
        // broken connection, never as an error behind half an answer.
        start: (status, headers) => {
          reply.hijack()
          output.writeHead(status, { ...reply.getHeaders() as OutgoingHttpHeaders, ...headers })
        },
        write: async (chunk) => { if (!output.write(chunk)) await once(output, 'drain', { signal }) },
      }, signal)
      output.end()
      return reply
    } catch (error) {
      if (reply.sent) {
        output.destroy()
        return reply
      }
      // Nobody is there any more to be told.
      if (signal.aborted) {
        reply.hijack()
        output.destroy()
        return reply
      }
      reply.header('x-should-retry', 'false')
      if (!(error instanceof DomainError)) throw error
      const { error: fields } = errorBody(error, correlationId)
      return reply.code(error.status).type('application/json').serializer(JSON.stringify).send({ type: 'error', error: { type: error.code, ...fields } })
    }
  }, { bodyLimitBytes: BODY_LIMIT_BYTES })
}

async function callerOf(principal: Principal, headers: NodeJS.Dict<string | string[]>, correlationId: string, projectByName: (name: string) => Promise<string>): Promise<Caller> {
  const header = (name: string): string | undefined => {
    const value = headers[name]
    return typeof value === 'string' && /^[\w.:-]{1,100}$/.test(value) ? value : undefined
  }
  if (principal.kind === 'attempt' && principal.attemptId !== undefined && principal.fence !== undefined) {
    return { kind: 'attempt', attemptId: principal.attemptId, fence: principal.fence, role: header('x-swarm-role') ?? 'developer' }
  }
  const project = header('x-swarm-project')
  if (project === undefined) throw new DomainError('invalid_input', { field: 'the header x-swarm-project', problem: 'it must name the project whose budget pays' })
  return { kind: 'server', projectId: await projectByName(project), sessionId: header('x-swarm-session') ?? null, role: header('x-swarm-role') ?? 'admin', step: header('x-swarm-step') ?? null, correlationId }
}
