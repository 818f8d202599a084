import { createHash } from 'node:crypto'
import { z } from 'zod'

/*
 * What the rehearsal model reads in a request: the Messages API's own fields, checked as the API checks them, and who is
 * asking. The second comes from headers that the model gateway adds, else from lines of the system prompt.
 */

const Block = z.looseObject({ type: z.string() })
const Message = z.object({ role: z.enum(['user', 'assistant']), content: z.union([z.string(), z.array(Block).min(1)]) })

export const MessagesRequest = z.looseObject({
  model: z.string().min(1),
  max_tokens: z.number().int().positive(),
  messages: z.array(Message).min(1),
  system: z.union([z.string(), z.array(z.looseObject({ type: z.literal('text'), text: z.string() }))]).optional(),
  stream: z.boolean().optional(),
  tools: z.array(z.looseObject({ name: z.string().regex(/^[a-zA-Z0-9_-]{1,128}$/), description: z.string().optional(), input_schema: z.looseObject({ type: z.literal('object') }).optional(), type: z.string().optional() })).optional(),
  tool_choice: z.discriminatedUnion('type', [z.looseObject({ type: z.literal('auto') }), z.looseObject({ type: z.literal('any') }), z.looseObject({ type: z.literal('none') }), z.looseObject({ type: z.literal('tool'), name: z.string() })]).optional(),
})
export type MessagesRequest = z.infer<typeof MessagesRequest>
type Blocks = Array<z.infer<typeof Block>>

/** Why the API would refuse this conversation, or null. The messages follow the real ones closely enough to be searched for. */
export function conversationProblem(request: MessagesRequest): string | null {
  if (request.messages[0]?.role !== 'user') return 'messages.0.role: the first message must use the "user" role'
  let open = new Set<string>()
  for (const [index, message] of request.messages.entries()) {
    const blocks: Blocks = typeof message.content === 'string' ? [] : message.content
    if (message.role === 'user') {
      const answered = new Set(blocks.filter((block) => block.type === 'tool_result').map((block) => String(block['tool_use_id'])))
      const unknown = [...answered].find((id) => !open.has(id))
      if (unknown !== undefined) return `messages.${index}.content: unexpected tool_use_id found in tool_result blocks: ${unknown}. Each tool_result block must have a corresponding tool_use block in the previous message.`
      const unanswered = [...open].find((id) => !answered.has(id))
      if (unanswered !== undefined) return `messages.${index}: tool_use ids were found without tool_result blocks immediately after: ${unanswered}. Each tool_use block must have a corresponding tool_result block in the next message.`
      open = new Set()
    } else {
      open = new Set(blocks.filter((block) => block.type === 'tool_use').map((block) => String(block['id'])))
    }
  }
  if (open.size > 0) return `messages.${request.messages.length - 1}: tool_use ids were found without tool_result blocks immediately after: ${[...open].join(', ')}.`
  const choice = request.tool_choice
  if (choice?.type === 'tool' && !request.tools?.some((tool) => tool.name === choice['name'])) return `tool_choice: Tool '${String(choice['name'])}' not found in provided tools`
  return null
}

/** Who asks, and how far the conversation is. */
export interface Asking {
  role: string
  ticketKey: string
  ticketId: string
  ticketTitle: string
  attempt: number
  step: string
  /** Model turns so far: assistant messages in the request, so that a repeated call gets the same turn. */
  turn: number
  /** Text of the last tool result: what the person answered, or what the command printed. */
  lastResult: string
  /** Everything the caller said (system prompt, user text, tool results), never the model's own words. */
  text: string
}

const FIELDS = { role: 'Swarm-Role', ticketKey: 'Swarm-Ticket-Key', ticketId: 'Swarm-Ticket-Id', ticketTitle: 'Swarm-Ticket-Title', attempt: 'Swarm-Attempt', step: 'Swarm-Step', turn: 'Swarm-Turn' } as const

/** Reads who asks from `x-swarm-…` headers (percent-encoded) and, where one is absent, from `Swarm-…: value` lines of the system prompt. */
export function readAsking(request: MessagesRequest, headers: Readonly<Record<string, string | string[] | undefined>>): Asking {
  const system = typeof request.system === 'string' ? request.system : (request.system ?? []).map((block) => block.text).join('\n')
  const field = (name: string): string => {
    const header = headers[`x-${name.toLowerCase()}`]
    if (typeof header === 'string' && header !== '') return decodeURIComponent(header)
    return new RegExp(`^${name}:[ \\t]*(.*)$`, 'mi').exec(system)?.[1]?.trim() ?? ''
  }
  const said: string[] = [system]
  let lastResult = ''
  for (const message of request.messages) {
    if (message.role !== 'user') continue
    if (typeof message.content === 'string') said.push(message.content)
    else {
      for (const block of message.content) {
        const text = block.type === 'tool_result' ? contentText(block['content']) : contentText([block])
        if (block.type === 'tool_result') lastResult = text
        said.push(text)
      }
    }
  }
  const counted = request.messages.filter((message) => message.role === 'assistant').length
  return {
    role: field(FIELDS.role), ticketKey: field(FIELDS.ticketKey), ticketId: field(FIELDS.ticketId), ticketTitle: field(FIELDS.ticketTitle),
    attempt: Number(field(FIELDS.attempt)) || 1, step: field(FIELDS.step),
    turn: field(FIELDS.turn) === '' ? counted : Number(field(FIELDS.turn)), lastResult, text: said.join('\n'),
  }
}

function contentText(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.map((block: unknown) => (typeof block === 'object' && block !== null && 'text' in block ? String(block.text) : '')).join('\n')
}

/** One block of an answer. A tool input is kept as JSON text, since a malformed one cannot be a value. */
export type AnswerBlock = { type: 'text'; text: string } | { type: 'tool_use'; id: string; name: string; json: string }

export interface Usage {
  input_tokens: number
  output_tokens: number
  cache_creation_input_tokens: number
  cache_read_input_tokens: number
}

const bytes = (value: unknown): number => (value === undefined ? 0 : Buffer.byteLength(typeof value === 'string' ? value : JSON.stringify(value)))
export const tokensOf = (byteCount: number): number => Math.ceil(byteCount / 4)

/**
 * Tokens of the input by the rehearsal's stated rule: a token is 4 bytes of the JSON of system, tools and messages. Where the
 * request asks for caching (any `cache_control`), what stood before the last assistant message and that message are cache
 * reads, all else is a cache write, as an ideal cache would do.
 */
export function inputUsage(request: MessagesRequest): Omit<Usage, 'output_tokens'> {
  const fixed = bytes(request.system) + bytes(request.tools)
  const all = tokensOf(fixed + bytes(request.messages))
  if (!JSON.stringify(request).includes('"cache_control"')) return { input_tokens: all, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 }
  const last = request.messages.findLastIndex((message) => message.role === 'assistant')
  const read = last < 0 ? 0 : Math.min(all, tokensOf(fixed + bytes(request.messages.slice(0, last + 1))))
  return { input_tokens: 0, cache_creation_input_tokens: all - read, cache_read_input_tokens: read }
}

/** Ids that a repeated call gets again: made from the conversation and the place of the block in the answer. */
export function stableId(prefix: string, request: MessagesRequest, place: string): string {
  const digest = createHash('sha256').update(JSON.stringify([request.system, request.messages])).update(place).digest('base64url')
  return `${prefix}_rehearsal${digest.replace(/[-_]/g, '').slice(0, 20)}`
}

/**
 * Cuts an answer to `max_tokens` as the API does: what does not fit is missing, and the tool input or text in which the limit
 * fell is incomplete.
 */
export function limitAnswer(blocks: readonly AnswerBlock[], maxTokens: number): { blocks: AnswerBlock[]; outputTokens: number; limited: boolean } {
  const kept: AnswerBlock[] = []
  let left = maxTokens
  for (const block of blocks) {
    const body = block.type === 'text' ? block.text : block.json
    const cost = tokensOf(Buffer.byteLength(body)) + (block.type === 'tool_use' ? tokensOf(Buffer.byteLength(block.name)) : 0)
    if (cost <= left) {
      kept.push(block)
      left -= cost
      continue
    }
    const part = Buffer.from(body).subarray(0, Math.max(0, left * 4 - 3)).toString('utf8').replace(/\uFFFD$/, '')
    kept.push(block.type === 'text' ? { ...block, text: part } : { ...block, json: part })
    return { blocks: kept, outputTokens: maxTokens, limited: true }
  }
  return { blocks: kept, outputTokens: Math.max(1, maxTokens - left), limited: false }
}
