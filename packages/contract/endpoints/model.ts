import { z } from 'zod'
import { endpoint, inHeaders } from '../endpoint.ts'

/**
 * The model gateway: the Anthropic Messages API (https://platform.claude.com/docs/en/api/messages), streaming included, with
 * Swarm's budget in front. Errors of Swarm's own have the API's shape too: `{type: "error", error: {type: <code>, …}}`.
 */
export const createMessage = endpoint({
  method: 'POST', path: '/model/v1/messages', access: ['attempt', 'person'], action: 'model:call', on: inHeaders('project', 'x-swarm-project'), tag: 'model', summary: 'Makes a model call under a budget (Anthropic Messages API)',
  body: z.looseObject({ model: z.string(), max_tokens: z.number().int(), messages: z.array(z.unknown()) }).describe('A request of the Messages API. Administrators name the project in the header x-swarm-project.'),
  response: z.looseObject({}).describe('A message, or with "stream": true its server-sent events'),
})
