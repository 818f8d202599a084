import { z } from 'zod'
import type { ContentBlockParam, MessageParam, ToolResultBlockParam } from '@anthropic-ai/sdk/resources/messages'
import { AttemptEnded, type TaskOf } from '../template.ts'
import { firstMessage } from './prompt.ts'

const Transcript = z.array(z.looseObject({ role: z.enum(['user', 'assistant']), content: z.union([z.string(), z.array(z.looseObject({ type: z.string() }))]) })).min(1)

/** The messages to begin with: a new conversation, or a parked one with the person's answer as the result of ask_human. */
export function openingMessages(task: TaskOf<'claude'>): MessageParam[] {
  if (task.resume === undefined) return [{ role: 'user', content: [{ type: 'text', text: firstMessage(task) }] }]
  const parsed = Transcript.safeParse(task.resume.transcript)
  if (!parsed.success) throw new AttemptEnded('infrastructure', 'bad_transcript', `The transcript to resume is not valid: ${z.prettifyError(parsed.error)}`)
  const messages = parsed.data as MessageParam[]
  const { toolUseId } = task.resume
  const asked = messages.some((message) => message.role === 'assistant' && Array.isArray(message.content) && message.content.some((block) => block.type === 'tool_use' && block.id === toolUseId))
  if (!asked) throw new AttemptEnded('infrastructure', 'bad_transcript', `The transcript to resume holds no call ${toolUseId}.`)
  const answer: ToolResultBlockParam = { type: 'tool_result', tool_use_id: toolUseId, content: task.resume.answer }
  const note: ContentBlockParam = { type: 'text', text: 'You were parked meanwhile and go on in a fresh machine with your work tree restored; nothing that you had started still runs. Read a file again before you replace it whole.' }
  const last = messages.at(-1)
  // Results of the other calls of that turn were kept as a user message of their own.
  if (last?.role === 'user' && Array.isArray(last.content)) return [...messages.slice(0, -1), { role: 'user', content: [...last.content, answer, note] }]
  return [...messages, { role: 'user', content: [answer, note] }]
}

/** A copy with a cache breakpoint at the end of the last message; the transcript itself carries none. */
export function withCacheBreakpoint(messages: readonly MessageParam[]): MessageParam[] {
  const last = messages.at(-1)
  if (last === undefined || last.role === 'system' || typeof last.content === 'string') return [...messages]
  const block = last.content.at(-1)
  if (block === undefined || (block.type !== 'text' && block.type !== 'tool_result')) return [...messages]
  return [...messages.slice(0, -1), { ...last, content: [...last.content.slice(0, -1), { ...block, cache_control: { type: 'ephemeral' } }] }]
}
