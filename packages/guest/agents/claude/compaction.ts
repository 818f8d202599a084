import type { ContentBlockParam, MessageParam } from '@anthropic-ai/sdk/resources/messages'

/** Shorter contents stay: an elision would hardly be smaller. */
const MIN_ELIDED_CHARS = 400
/** Messages at the end that are never touched, from gentle to hard. */
const KEEP_LATEST = [12, 6, 2] as const
/** JSON characters per token, low on purpose (code and JSON run at 3 to 4): better to elide a little early. */
const CHARS_PER_TOKEN = 3

export interface Compaction {
  messages: MessageParam[]
  /** Calls whose result or input is no longer in the context. */
  elidedCalls: string[]
  /** Characters removed. */
  removed: number
}

/** Tokens of these messages, estimated from their characters. */
export function estimateTokens(messages: readonly MessageParam[]): number {
  return Math.ceil(JSON.stringify(messages).length / CHARS_PER_TOKEN)
}

/**
 * Removes long tool results, and long inputs of write_file, from older messages until at least `tokens` tokens are freed; in
 * each place it says what was there and how to get it again. Roles, ids and order stay, so the transcript stays valid. The
 * first message (the task and the evidence) is never touched. When nothing can be freed, the messages come back unchanged.
 */
export function compact(messages: readonly MessageParam[], tokens: number): Compaction {
  let result: Compaction = { messages: [...messages], elidedCalls: [], removed: 0 }
  for (const keep of KEEP_LATEST) {
    result = elide(messages, messages.length - keep)
    if (result.removed >= tokens * CHARS_PER_TOKEN) return result
  }
  return result
}

function elide(messages: readonly MessageParam[], before: number): Compaction {
  const elidedCalls: string[] = []
  let removed = 0
  const names = new Map<string, string>()
  const elideBlock = (block: ContentBlockParam): ContentBlockParam => {
    if (block.type === 'tool_use') {
      names.set(block.id, block.name)
      const input = block.input as Record<string, unknown>
      const content = block.name === 'write_file' ? input['content'] : undefined
      if (typeof content !== 'string' || content.length < MIN_ELIDED_CHARS) return block
      const note = `[Left out to save context: ${content.length} characters that were written to the file. Read the file to see them.]`
      elidedCalls.push(block.id)
      removed += content.length - note.length
      return { ...block, input: { ...input, content: note } }
    }
    if (block.type !== 'tool_result' || typeof block.content !== 'string' || block.content.length < MIN_ELIDED_CHARS) return block
    const note = `[Left out to save context: the ${block.content.length} characters that ${names.get(block.tool_use_id) ?? 'this call'} answered. Make the call again if you need them.]`
    elidedCalls.push(block.tool_use_id)
    removed += block.content.length - note.length
    return { ...block, content: note }
  }
  const compacted = messages.map((message, index): MessageParam =>
    index === 0 || index >= before || message.role === 'system' || typeof message.content === 'string' ? message : { ...message, content: message.content.map(elideBlock) })
  return { messages: compacted, elidedCalls, removed }
}
