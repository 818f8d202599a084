import type { AnswerBlock, Usage } from './call.ts'

/** A whole answer, as the Messages API would give it. */
export interface Answer {
  id: string
  model: string
  blocks: readonly AnswerBlock[]
  stopReason: 'end_turn' | 'tool_use' | 'max_tokens'
  usage: Usage
}

/** Characters of text or tool input in one delta event. */
const DELTA_CHARACTERS = 400

const fullUsage = (usage: Usage) => ({
  ...usage,
  cache_creation: { ephemeral_5m_input_tokens: usage.cache_creation_input_tokens, ephemeral_1h_input_tokens: 0 },
  inference_geo: null, output_tokens_details: null, server_tool_use: null, service_tier: 'standard', speed: 'standard',
})

/** The answer as one JSON body. A tool input that is no JSON (malformed, or cut by max_tokens) is `{}`, as it was never complete. */
export function messageBody(answer: Answer): Record<string, unknown> {
  return {
    id: answer.id, type: 'message', role: 'assistant', model: answer.model,
    content: answer.blocks.map((block) => (block.type === 'text'
      ? { type: 'text', text: block.text, citations: null }
      : { type: 'tool_use', id: block.id, name: block.name, input: valueOrEmpty(block.json) })),
    stop_reason: answer.stopReason, stop_sequence: null, usage: fullUsage(answer.usage),
  }
}

function valueOrEmpty(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}

/**
 * The answer as the API's server-sent events, each a whole `event: …\ndata: …\n\n` text, in the order that the SDK expects:
 * message_start, ping, per block start, deltas and stop, message_delta with the final usage, message_stop.
 */
export function* messageEvents(answer: Answer): Generator<string> {
  yield event('message_start', {
    message: { id: answer.id, type: 'message', role: 'assistant', model: answer.model, content: [], stop_reason: null, stop_sequence: null, usage: fullUsage({ ...answer.usage, output_tokens: 1 }) },
  })
  yield event('ping', {})
  for (const [index, block] of answer.blocks.entries()) {
    if (block.type === 'text') {
      yield event('content_block_start', { index, content_block: { type: 'text', text: '', citations: null } })
      for (const part of parts(block.text)) yield event('content_block_delta', { index, delta: { type: 'text_delta', text: part } })
    } else {
      yield event('content_block_start', { index, content_block: { type: 'tool_use', id: block.id, name: block.name, input: {} } })
      yield event('content_block_delta', { index, delta: { type: 'input_json_delta', partial_json: '' } })
      for (const part of parts(block.json)) yield event('content_block_delta', { index, delta: { type: 'input_json_delta', partial_json: part } })
    }
    yield event('content_block_stop', { index })
  }
  yield event('message_delta', { delta: { stop_reason: answer.stopReason, stop_sequence: null }, usage: { ...answer.usage, output_tokens_details: null, server_tool_use: null } })
  yield event('message_stop', {})
}

function event(type: string, data: Record<string, unknown>): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`
}

function* parts(text: string): Generator<string> {
  const characters = Array.from(text) // code points: a surrogate pair is never cut
  for (let at = 0; at < characters.length; at += DELTA_CHARACTERS) yield characters.slice(at, at + DELTA_CHARACTERS).join('')
}
