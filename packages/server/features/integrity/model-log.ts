import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { priceOf, type PriceTable } from '@swarm/core/budgets/prices.ts'
import { costOf } from '@swarm/core/budgets/reserve.ts'
import type { CallFact, ServedFact } from '@swarm/core/integrity/facts.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { z } from 'zod'
import { parseJson } from '@swarm/core/json.ts'

/** One line of the rehearsal model's log, as far as it is read here (packages/testkit/rehearsal/server.ts ServedCall). */
const Line = z.object({
  callId: z.string(), model: z.string(), complete: z.boolean(),
  usage: z.object({ input_tokens: z.number(), output_tokens: z.number(), cache_creation_input_tokens: z.number(), cache_read_input_tokens: z.number() }),
})

/**
 * What the model says it served, summed by our id of the call; null when there is no such file. Calls that somebody made past
 * the gateway have no id: ''. A line that was torn when its writer was killed, and maybe went on with the next one, counts for
 * what is whole of it.
 * @throws DomainError `invalid_input` when a line is none of its
 */
export async function readServed(file: string, calls: ReadonlyMap<string, CallFact>, prices?: PriceTable): Promise<ServedFact[] | null> {
  if (!existsSync(file)) return null
  const served = new Map<string, ServedFact>()
  const lines = (await readFile(file, 'utf8')).split('\n')
  for (const [index, text] of lines.entries()) {
    if (text.trim() === '') continue
    const value = parseJson(text) ?? afterTear(text)
    if (value === undefined && text.startsWith('{')) continue
    const line = Line.safeParse(value)
    if (!line.success) {
      throw new DomainError('invalid_input', { problem: `line ${index + 1} of ${file} is no served call`, field: 'the model log' })
    }
    served.set(line.data.callId, added(served.get(line.data.callId), line.data, calls.get(line.data.callId), prices))
  }
  return [...served.values()]
}

function added(before: ServedFact | undefined, line: z.infer<typeof Line>, call: CallFact | undefined, prices: PriceTable | undefined): ServedFact {
  const { usage } = line
  const anything = Object.values(usage).some((tokens) => tokens > 0)
  const price = priceOf(call?.model ?? line.model, call?.createdAt ?? Date.now(), prices)
  const cost = price === null ? null : costOf({ inputTokens: usage.input_tokens, outputTokens: usage.output_tokens, cacheReadTokens: usage.cache_read_input_tokens, cacheWrite5mTokens: usage.cache_creation_input_tokens, cacheWrite1hTokens: 0 }, price)
  return {
    callId: line.callId, answers: (before?.answers ?? 0) + (anything ? 1 : 0), complete: (before?.complete ?? true) && (line.complete || !anything),
    inputTokens: (before?.inputTokens ?? 0) + usage.input_tokens, outputTokens: (before?.outputTokens ?? 0) + usage.output_tokens,
    cacheReadTokens: (before?.cacheReadTokens ?? 0) + usage.cache_read_input_tokens, cacheWriteTokens: (before?.cacheWriteTokens ?? 0) + usage.cache_creation_input_tokens,
    costMicroUsd: cost === null || before?.costMicroUsd === null ? null : (before?.costMicroUsd ?? 0) + cost,
  }
}

/** The whole line at the end of one that begins with the piece of another. */
function afterTear(text: string): unknown {
  for (let start = text.indexOf('{', 1); start !== -1; start = text.indexOf('{', start + 1)) {
    const value = parseJson(text.slice(start))
    if (value !== undefined && Line.safeParse(value).success) return value
  }
  return undefined
}
