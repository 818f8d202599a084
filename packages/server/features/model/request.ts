import { createHash } from 'node:crypto'
import { modelTraits } from '@swarm/core/budgets/prices.ts'
import type { CallShape } from '@swarm/core/budgets/reserve.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { z } from 'zod'

/*
 * What the gateway lets through. Its budget bounds a call by the bytes of the request, so everything that could cost more
 * than its bytes show (images, documents, server tools, faster modes, other regions) is refused by name, not forwarded.
 */

const Block = z.looseObject({ type: z.string() })
const Message = z.looseObject({ role: z.enum(['user', 'assistant']), content: z.union([z.string(), z.array(Block)]) })
const MessagesRequest = z.looseObject({
  model: z.string().min(1).max(200),
  max_tokens: z.number().int().positive(),
  messages: z.array(Message).min(1),
  stream: z.boolean().optional(),
  tools: z.array(z.looseObject({ name: z.string(), type: z.string().optional() })).optional(),
  tool_choice: z.looseObject({ type: z.string() }).optional(),
})
export type MessagesRequest = z.infer<typeof MessagesRequest>

const PRICED_OPTIONS = new Set([
  'model', 'max_tokens', 'messages', 'system', 'tools', 'tool_choice', 'stream', 'stop_sequences', 'temperature', 'top_p', 'top_k',
  'metadata', 'thinking', 'cache_control', 'output_config', 'service_tier',
])
const PRICED_BLOCKS = new Set(['text', 'tool_use', 'tool_result', 'thinking', 'redacted_thinking'])

/** A request that was checked: what goes out, and what its cost depends on. */
export interface PreparedRequest {
  readonly request: MessagesRequest
  readonly requestBytes: number
  readonly cacheWrites: CallShape['cacheWrites']
}

/**
 * Checks a Messages API request. A forced tool is asked for by `auto` where the model refuses forcing (the caller must take
 * an answer without the tool call anyway, as max_tokens can cut it).
 * @throws DomainError model_request_invalid | model_option_unpriced
 */
export function prepareRequest(body: unknown): PreparedRequest {
  const parsed = MessagesRequest.safeParse(body)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new DomainError('model_request_invalid', { field: issue?.path.join('.') || 'the body', problem: `${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.trim() })
  }
  const refuse = (option: string): never => { throw new DomainError('model_option_unpriced', { option }) }
  const request: MessagesRequest = { ...parsed.data }
  for (const key of Object.keys(request)) if (!PRICED_OPTIONS.has(key)) refuse(`"${key}"`)
  for (const tool of request.tools ?? []) if (tool.type !== undefined && tool.type !== 'custom') refuse(`the server tool "${tool.type}"`)
  for (const message of request.messages) checkBlocks(message.content, refuse)
  if ((request.tool_choice?.type === 'tool' || request.tool_choice?.type === 'any') && !modelTraits(request.model).forcedTools) {
    const { disable_parallel_tool_use } = request.tool_choice
    request.tool_choice = { type: 'auto', ...(disable_parallel_tool_use === undefined ? {} : { disable_parallel_tool_use }) }
  }
  return { request, requestBytes: Buffer.byteLength(JSON.stringify(request)), cacheWrites: longestCacheWrite(request) }
}

function checkBlocks(content: unknown, refuse: (option: string) => never): void {
  if (!Array.isArray(content)) return
  for (const block of content as unknown[]) {
    const type = typeof block === 'object' && block !== null && 'type' in block ? String(block.type) : 'unknown'
    if (!PRICED_BLOCKS.has(type)) refuse(`a content block of type "${type}"`)
    if (type === 'tool_result' && typeof block === 'object' && block !== null && 'content' in block) checkBlocks(block.content, refuse)
  }
}

function longestCacheWrite(value: unknown): CallShape['cacheWrites'] {
  let longest: CallShape['cacheWrites'] = 'none'
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return
    if (!Array.isArray(node) && 'cache_control' in node && node.cache_control !== null) {
      const control: unknown = node.cache_control
      const hour = typeof control === 'object' && control !== null && 'ttl' in control && control.ttl !== '5m'
      if (hour) longest = '1h'
      else if (longest === 'none') longest = '5m'
    }
    for (const child of Object.values(node)) visit(child)
  }
  visit(value)
  return longest
}

/** What one conversation's last call measured, so that the next one's bound need not start from its bytes again. */
interface Measured { readonly fixed: string; readonly count: number; readonly prefix: string; readonly inputTokens: number }

const MOST_CONVERSATIONS = 2_000

/** Remembers the last call of each conversation. Lost on a restart, which only makes the next bound wider. */
export function createConversations() {
  const measured = new Map<string, Measured>()
  return {
    /** The last call of this conversation, if this request begins with all of it. */
    previous(conversation: string, request: MessagesRequest): CallShape['previous'] {
      const last = measured.get(conversation)
      if (!last || last.count > request.messages.length || last.fixed !== digest(fixedPart(request)) || last.prefix !== digest(request.messages.slice(0, last.count))) return undefined
      return { inputTokens: last.inputTokens, appendedBytes: request.messages.slice(last.count).reduce((sum, message) => sum + Buffer.byteLength(JSON.stringify(message)) + 1, 0) }
    },
    remember(conversation: string, request: MessagesRequest, inputTokens: number): void {
      measured.delete(conversation)
      measured.set(conversation, { fixed: digest(fixedPart(request)), count: request.messages.length, prefix: digest(request.messages), inputTokens })
      const oldest = measured.keys().next()
      if (measured.size > MOST_CONVERSATIONS && !oldest.done) measured.delete(oldest.value)
    },
  }
}

/** Everything but the messages that input tokens depend on. */
function fixedPart(request: MessagesRequest): unknown {
  const { messages: _messages, max_tokens: _maxTokens, stream: _stream, metadata: _metadata, ...fixed } = request
  return fixed
}

/** Cache marks move from call to call and cost no tokens: they are left out. */
function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value, (key, child: unknown) => (key === 'cache_control' ? undefined : child))).digest('base64')
}
