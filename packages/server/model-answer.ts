import { z } from 'zod'

/** The parts of a Messages API response that steps of the server read. */
const ModelResponse = z.looseObject({
  stop_reason: z.string().nullable(),
  content: z.array(z.looseObject({ type: z.string() })),
})

/** The input of the `submit` call, or why there is none that can be used. */
export function submitted<T extends z.ZodType>(response: unknown, schema: T): { ok: true; value: z.output<T> } | { ok: false; problem: string } {
  const parsed = ModelResponse.safeParse(response)
  if (!parsed.success) return { ok: false, problem: 'it is not a message of the Messages API.' }
  if (parsed.data.stop_reason === 'max_tokens') return { ok: false, problem: 'it was cut at the token limit: be shorter.' }
  const call = parsed.data.content.find((block) => block.type === 'tool_use' && block['name'] === 'submit')
  if (!call) return { ok: false, problem: 'it did not call the tool submit.' }
  const value = schema.safeParse(call['input'])
  return value.success ? { ok: true, value: value.data } : { ok: false, problem: z.prettifyError(value.error) }
}
