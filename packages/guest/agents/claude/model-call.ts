import type { ContentBlockParam, Messages, MessageCreateParamsStreaming, RawMessageStreamEvent, StopReason, ToolUseBlockParam } from '@anthropic-ai/sdk/resources/messages'
import { AttemptEnded } from '../template.ts'
import { BrokenAnswer, endOfModelCall } from './model-errors.ts'

export interface ModelTurn {
  /** As it goes back into the transcript. */
  content: ContentBlockParam[]
  stopReason: StopReason | null
  /** A tool call that was cut by max_tokens: its input is incomplete and must not be run. */
  cutToolUseId: string | null
  /** Tokens. `input` includes what was written to the cache. */
  usage: { input: number; cacheRead: number; output: number }
}

/** How often one turn is asked for when its answer breaks off: the gateway cannot repeat what it has passed on, the agent can. */
const TRIES = 3

/** One turn: a call that is made again when its answer did not reach its end. Nothing of a broken answer is used. */
export async function callModel(client: Messages, request: MessageCreateParamsStreaming, options: { silenceMs: number; signal: AbortSignal }): Promise<ModelTurn> {
  for (let tries = 1; ; tries++) {
    try {
      return await callOnce(client, request, options)
    } catch (error) {
      if (!(error instanceof BrokenAnswer) || tries >= TRIES) throw error
    }
  }
}

/**
 * One streamed call of the Messages API. The stream is put together here and not by the SDK's helper, which completes broken
 * JSON of tool inputs: half a file must never be taken for a whole one.
 * @param silenceMs the call fails as `model silence` when no event arrives for so long.
 * @throws AttemptEnded for every failure of the call, the abort reason when `signal` fires.
 */
async function callOnce(client: Messages, request: MessageCreateParamsStreaming, options: { silenceMs: number; signal: AbortSignal }): Promise<ModelTurn> {
  const silence = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const heard = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => silence.abort(), options.silenceMs)
  }
  try {
    heard()
    const stream = await client.create(request, { signal: AbortSignal.any([options.signal, silence.signal]) })
    const assembly = new Assembly()
    for await (const event of stream) {
      heard()
      assembly.add(event)
    }
    options.signal.throwIfAborted()
    if (silence.signal.aborted) throw silenceError(options.silenceMs)
    return assembly.finish()
  } catch (error) {
    options.signal.throwIfAborted()
    if (silence.signal.aborted) throw silenceError(options.silenceMs)
    throw endOfModelCall(error)
  } finally {
    clearTimeout(timer)
  }
}

function silenceError(silenceMs: number): BrokenAnswer {
  return new BrokenAnswer('model', 'silence', `The model was silent for ${silenceMs / 1_000} s.`)
}

function malformed(message: string): AttemptEnded {
  return new AttemptEnded('model', 'malformed_output', `The model sent malformed output: ${message}`)
}

class Assembly {
  readonly #blocks: ContentBlockParam[] = []
  readonly #inputs = new Map<number, string>()
  #started = false
  #stopped = false
  #stopReason: StopReason | null = null
  readonly #usage = { input: 0, cacheRead: 0, cacheWrite: 0, output: 0 }

  add(event: RawMessageStreamEvent): void {
    switch (event.type) {
      case 'message_start': {
        const { usage } = event.message
        this.#started = true
        this.#usage.input = usage.input_tokens
        this.#usage.cacheRead = usage.cache_read_input_tokens ?? 0
        this.#usage.cacheWrite = usage.cache_creation_input_tokens ?? 0
        this.#usage.output = usage.output_tokens
        return
      }
      case 'content_block_start': return this.#open(event.index, event.content_block)
      case 'content_block_delta': return this.#extend(event.index, event.delta)
      case 'content_block_stop': return
      case 'message_delta':
        this.#stopReason = event.delta.stop_reason
        // Totals of the whole message: a later one replaces the earlier.
        this.#usage.input = event.usage.input_tokens ?? this.#usage.input
        this.#usage.cacheRead = event.usage.cache_read_input_tokens ?? this.#usage.cacheRead
        this.#usage.cacheWrite = event.usage.cache_creation_input_tokens ?? this.#usage.cacheWrite
        this.#usage.output = event.usage.output_tokens
        return
      case 'message_stop':
        this.#stopped = true
        return
    }
  }

  #open(index: number, block: Extract<RawMessageStreamEvent, { type: 'content_block_start' }>['content_block']): void {
    if (!this.#started || index !== this.#blocks.length) throw malformed(`block ${index} where ${this.#blocks.length} was due`)
    switch (block.type) {
      case 'text': this.#blocks.push({ type: 'text', text: block.text }); return
      case 'tool_use':
        this.#blocks.push({ type: 'tool_use', id: block.id, name: block.name, input: {} })
        this.#inputs.set(index, '')
        return
      case 'thinking': this.#blocks.push({ type: 'thinking', thinking: block.thinking, signature: block.signature }); return
      case 'redacted_thinking': this.#blocks.push({ type: 'redacted_thinking', data: block.data }); return
      default: throw malformed(`a block of type ${block.type}, which was not asked for`)
    }
  }

  #extend(index: number, delta: Extract<RawMessageStreamEvent, { type: 'content_block_delta' }>['delta']): void {
    const block = this.#blocks[index]
    if (delta.type === 'text_delta' && block?.type === 'text') block.text += delta.text
    else if (delta.type === 'input_json_delta' && block?.type === 'tool_use') this.#inputs.set(index, (this.#inputs.get(index) ?? '') + delta.partial_json)
    else if (delta.type === 'thinking_delta' && block?.type === 'thinking') block.thinking += delta.thinking
    else if (delta.type === 'signature_delta' && block?.type === 'thinking') block.signature += delta.signature
    else if (delta.type !== 'citations_delta') throw malformed(`a ${delta.type} for block ${index}`)
  }

  finish(): ModelTurn {
    if (!this.#stopped) throw new BrokenAnswer('model', 'cut_stream', 'The answer of the model ended before it was complete.')
    let cutToolUseId: string | null = null
    for (const [index, json] of this.#inputs) {
      const block = this.#blocks[index] as ToolUseBlockParam
      try {
        block.input = json === '' ? {} : JSON.parse(json)
      } catch {
        if (this.#stopReason !== 'max_tokens' || index !== this.#blocks.length - 1) throw malformed(`the input of the call ${block.name} is no JSON`)
      }
      if (this.#stopReason === 'max_tokens' && index === this.#blocks.length - 1) {
        cutToolUseId = block.id
        block.input = {}
      }
    }
    // The API refuses empty text blocks in a transcript.
    const content = this.#blocks.filter((block) => block.type !== 'text' || block.text !== '')
    return { content, stopReason: this.#stopReason, cutToolUseId, usage: { input: this.#usage.input + this.#usage.cacheWrite, cacheRead: this.#usage.cacheRead, output: this.#usage.output } }
  }
}
