import { cardProblem, cardRequest, renderCard, type SpecCard } from '@swarm/core/design/card.ts'
import type { Wanted } from '@swarm/core/design/clarify.ts'
import { parseSpec, type Spec } from '@swarm/core/design/spec.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { CardAnswer } from './answers.ts'
import type { Ask } from './steps.ts'

/**
 * Has the spec written as a card and reads it back as any other spec. Steps: `card`, and `card:again` when what came of it
 * cannot be read.
 * @throws DomainError design_answer_malformed, token_cap_too_small, and what `ask` throws
 */
export async function writeCard(wanted: Wanted, ask: Ask): Promise<{ card: SpecCard; markdown: string; spec: Spec }> {
  const first = readCard(await ask('card', cardRequest(wanted, 'card', null), CardAnswer))
  if (first.problem === null) return first
  const second = readCard(await ask('card:again', cardRequest(wanted, 'card:again', first.problem), CardAnswer))
  if (second.problem === null) return second
  throw new DomainError('design_answer_malformed', { step: 'card', problem: second.problem })
}

type Read = { problem: null; card: SpecCard; markdown: string; spec: Spec } | { problem: string }

function readCard(answer: SpecCard): Read {
  const { markdown, ids } = renderCard(answer)
  try {
    const spec = parseSpec(markdown)
    const problem = cardProblem(ids, spec)
    if (problem !== null) return { problem }
    return { problem, card: { ...answer, requirements: answer.requirements.map((requirement, index) => ({ ...requirement, id: ids[index] ?? requirement.id })) }, markdown, spec }
  } catch (error) {
    if (!(error instanceof DomainError)) throw error
    return { problem: error.message }
  }
}
