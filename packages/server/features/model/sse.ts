import type { CallUsage } from '@swarm/core/budgets/reserve.ts'
import { z } from 'zod'

/** Reads server-sent events out of a byte stream, however it is cut into chunks. */
export function createSseReader(): (chunk: Uint8Array) => SseEvent[] {
  const decoder = new TextDecoder()
  let rest = ''
  return (chunk) => {
    rest += decoder.decode(chunk, { stream: true })
    const blocks = rest.split(/\r?\n\r?\n/)
    rest = blocks.pop() ?? ''
    return blocks.flatMap((block) => {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trimStart()).join('\n')
      return data === '' ? [] : [SseEvent.parse(JSON.parse(data))]
    })
  }
}

const count = z.number().int().nonnegative().nullish()
const Usage = z.looseObject({
  input_tokens: count, output_tokens: count, cache_read_input_tokens: count, cache_creation_input_tokens: count,
  cache_creation: z.looseObject({ ephemeral_5m_input_tokens: count, ephemeral_1h_input_tokens: count }).nullish(),
})
type Usage = z.infer<typeof Usage>
const ContentBlock = z.looseObject({ type: z.string() })
type ContentBlock = z.infer<typeof ContentBlock>

export const SseEvent = z.looseObject({
  type: z.string(),
  index: z.number().int().optional(),
  message: z.looseObject({ usage: Usage.optional() }).optional(),
  content_block: ContentBlock.optional(),
  delta: z.looseObject({ type: z.string().optional() }).optional(),
  usage: Usage.optional(),
  error: z.looseObject({ type: z.string(), message: z.string() }).optional(),
})
export type SseEvent = z.infer<typeof SseEvent>

/** A whole message of the Messages API. */
export const ModelMessage = z.looseObject({
  id: z.string(), model: z.string(), role: z.literal('assistant'),
  content: z.array(ContentBlock), stop_reason: z.string().nullable(), usage: Usage,
})
export type ModelMessage = z.infer<typeof ModelMessage>

/** Follows the events of one message. */
export function createMessageFollower() {
  const message: Record<string, unknown> = {}
  const usage: Usage = {}
  const blocks: ContentBlock[] = []
  const json = new Map<number, string>()
  let complete = false
  return {
    see(event: SseEvent): void {
      if (event.type === 'message_start' && event.message) {
        Object.assign(message, event.message)
        Object.assign(usage, event.message.usage)
      } else if (event.type === 'content_block_start' && event.index !== undefined && event.content_block) {
        blocks[event.index] = { ...event.content_block }
      } else if (event.type === 'content_block_delta' && event.index !== undefined && event.delta) {
        append(blocks[event.index], event.delta, event.index, json)
      } else if (event.type === 'message_delta') {
        Object.assign(message, event.delta)
        // The final figures are cumulative and may leave out what did not change.
        for (const [key, value] of Object.entries(event.usage ?? {})) if (value !== null && value !== undefined) usage[key] = value
      } else if (event.type === 'message_stop') {
        complete = true
      }
    },
    /** True once message_stop was seen: the usage is final. */
    complete: () => complete,
    usage: (): Usage => usage,
    /** The message, once it is complete. A tool input that is no JSON is `{}`, with the text in `invalid_json`. */
    message(): ModelMessage {
      for (const [index, text] of json) {
        const block = blocks[index]
        if (!block) continue
        try {
          block['input'] = text === '' ? {} : JSON.parse(text)
        } catch (error) {
          if (!(error instanceof SyntaxError)) throw error
          block['input'] = {}
          block['invalid_json'] = text
        }
      }
      return ModelMessage.parse({ ...message, content: blocks, usage })
    },
  }
}

function append(block: ContentBlock | undefined, delta: NonNullable<SseEvent['delta']>, index: number, json: Map<number, string>): void {
  if (!block) return
  const field = DELTA_FIELDS[delta.type ?? '']
  if (delta.type === 'input_json_delta') json.set(index, (json.get(index) ?? '') + String(delta['partial_json']))
  else if (field) block[field] = String(block[field] ?? '') + String(delta[field])
}

const DELTA_FIELDS: Readonly<Record<string, string>> = { text_delta: 'text', thinking_delta: 'thinking', signature_delta: 'signature' }

/**
 * The usage in the ledger's terms, or null when the essential figures are missing.
 * @param dearestWrite where the API does not say for how long it cached, the dearest kind that the request allowed.
 */
export function usageOf(usage: Usage, dearestWrite: 'none' | '5m' | '1h'): CallUsage | null {
  if (typeof usage.input_tokens !== 'number' || typeof usage.output_tokens !== 'number') return null
  const written = usage.cache_creation_input_tokens ?? 0
  const hour = usage.cache_creation ? usage.cache_creation.ephemeral_1h_input_tokens ?? 0 : dearestWrite === '1h' ? written : 0
  return {
    inputTokens: usage.input_tokens, outputTokens: usage.output_tokens, cacheReadTokens: usage.cache_read_input_tokens ?? 0,
    cacheWrite1hTokens: hour, cacheWrite5mTokens: Math.max(0, written - hour),
  }
}
