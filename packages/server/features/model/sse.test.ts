import { describe, expect, it } from 'vitest'
import { createMessageFollower, createSseReader, usageOf } from './sse.ts'

const EVENTS = [
  { type: 'message_start', message: { id: 'msg_1', model: 'm', role: 'assistant', content: [], stop_reason: null, usage: { input_tokens: 10, output_tokens: 1, cache_creation_input_tokens: 20, cache_creation: { ephemeral_5m_input_tokens: 5, ephemeral_1h_input_tokens: 15 } } } },
  { type: 'ping' },
  { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'hm – ✓' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'signature_delta', signature: 'sig' } },
  { type: 'content_block_start', index: 1, content_block: { type: 'tool_use', id: 'toolu_1', name: 'submit', input: {} } },
  { type: 'content_block_delta', index: 1, delta: { type: 'input_json_delta', partial_json: '{"a":' } },
  { type: 'content_block_delta', index: 1, delta: { type: 'input_json_delta', partial_json: '"é"}' } },
  { type: 'message_delta', delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 42, input_tokens: null } },
  { type: 'message_stop' },
]
const bytesWith = (end: string): Buffer => Buffer.from(EVENTS.map((event) => `event: ${event.type}${end}data: ${JSON.stringify(event)}${end}${end}`).join(''))

describe('a stream of a message', () => {
  it.each([['\n', 1], ['\n', 7], ['\r\n', 1], ['\r\n', 13], ['\n', 100_000]])('is read with line ends %j in chunks of %i bytes', (end, size) => {
    const read = createSseReader()
    const follower = createMessageFollower()
    const all = bytesWith(end)
    for (let at = 0; at < all.length; at += size) {
      expect(follower.complete()).toBe(false)
      for (const event of read(all.subarray(at, at + size))) follower.see(event)
    }
    expect(follower.complete()).toBe(true)
    expect(follower.message()).toMatchObject({ id: 'msg_1', stop_reason: 'tool_use', content: [{ type: 'thinking', thinking: 'hm – ✓', signature: 'sig' }, { type: 'tool_use', name: 'submit', input: { a: 'é' } }] })
    expect(usageOf(follower.usage(), '1h')).toEqual({ inputTokens: 10, outputTokens: 42, cacheReadTokens: 0, cacheWrite5mTokens: 5, cacheWrite1hTokens: 15 })
  })

  it('counts cache writes at the dearest kind that was allowed where the API does not say which they were', () => {
    expect(usageOf({ input_tokens: 1, output_tokens: 2, cache_creation_input_tokens: 30 }, '1h')).toMatchObject({ cacheWrite1hTokens: 30, cacheWrite5mTokens: 0 })
    expect(usageOf({ input_tokens: 1, output_tokens: 2, cache_creation_input_tokens: 30 }, '5m')).toMatchObject({ cacheWrite1hTokens: 0, cacheWrite5mTokens: 30 })
  })

  it('has no usage when the essential figures are missing, so that nothing is guessed', () => {
    expect(usageOf({ input_tokens: 1 }, 'none')).toBeNull()
  })
})
