import { analysisText } from './analysis.ts'
import { takeChunk, type DesignRequest } from './chunks.ts'
import { forcedSubmit, share, widen, type DesignContext } from './requests.ts'
import { shorten } from './text.ts'

/** What a spec has to say something about, scored from 0 to 100 by the clarifier. */
export const COVERAGE_AREAS = ['overview', 'users', 'features', 'technical', 'constraints', 'acceptance'] as const
export type CoverageArea = (typeof COVERAGE_AREAS)[number]
export type Coverage = Readonly<Record<CoverageArea, number>>

/** The areas without which nothing can be planned, and the score from which on one is covered. */
export const NEEDED_AREAS = ['overview', 'users', 'features'] as const satisfies readonly CoverageArea[]
export const ENOUGH_COVERAGE = 80
/** Most questions of one session: patience is limited, and what is still open after them is better seen in a plan. */
export const MAX_QUESTIONS = 12
/** Longest idea that a session may begin with, characters; what is longer is a spec. */
export const MAX_IDEA_CHARACTERS = 20_000
export const MAX_ANSWER_CHARACTERS = 4_000

export interface Exchange {
  readonly number: number
  readonly question: string
  /** Null: it waits for an answer, or was passed over. */
  readonly answer: string | null
}

/** Whether the areas that a plan needs are covered. */
export function covered(coverage: Coverage): boolean {
  return NEEDED_AREAS.every((area) => coverage[area] >= ENOUGH_COVERAGE)
}

const FILLER = new Set(['a', 'an', 'the', 'do', 'does', 'did', 'is', 'are', 'should', 'shall', 'will', 'would', 'can', 'could', 'it', 'this', 'that', 'be', 'to', 'of', 'in', 'for', 'on', 'and', 'or', 'you', 'your', 'we', 'please', 'there', 'have', 'has', 'any'])

function words(question: string): Set<string> {
  const all = question.toLowerCase().normalize('NFKD').replace(/[^\p{L}\p{N}]+/gu, ' ').trim().split(' ').filter((word) => word !== '')
  const telling = all.filter((word) => !FILLER.has(word))
  return new Set(telling.length === 0 ? all : telling)
}

/** Whether two questions ask the same: equal but for small words and order, or four of five telling words shared. */
export function sameQuestion(one: string, two: string): boolean {
  const [first, second] = [words(one), words(two)]
  const shared = [...first].filter((word) => second.has(word)).length
  const all = new Set([...first, ...second]).size
  return all === 0 || shared / all >= 0.8
}

const SCORE = { type: 'integer', minimum: 0, maximum: 100 } as const
const SCHEMA = {
  type: 'object', required: ['coverage', 'acknowledgement', 'question'],
  properties: {
    coverage: { type: 'object', required: COVERAGE_AREAS, properties: Object.fromEntries(COVERAGE_AREAS.map((area) => [area, SCORE])) },
    acknowledgement: { type: 'string' },
    question: {
      type: ['object', 'null'], required: ['text', 'area'],
      properties: { text: { type: 'string' }, options: { type: 'array', items: { type: 'string' } }, area: { enum: COVERAGE_AREAS }, files: { type: 'array', items: { type: 'string' } } },
    },
  },
} as const

/** What clarifier and card writer read: what is wanted in the person's words, and what was asked and answered. */
export interface Wanted {
  readonly context: Omit<DesignContext, 'spec'>
  readonly input: string
  readonly exchanges: readonly Exchange[]
}

/**
 * Asks for scores and the next question.
 * @throws DomainError token_cap_too_small
 */
export function clarifyRequest(wanted: Wanted, step: string, repeated: string | null): DesignRequest {
  const { context, exchanges } = wanted
  const rules = [
    'You find out what a person wants to have built, before it is planned. Read what they wrote, what they answered and what is known of the repository.',
    `coverage: for each area from 0 (nothing is known) to 100 (nothing is left to ask). acknowledgement: one sentence that shows what you took from the last answer; empty when there is none.`,
    `question: the one question whose answer helps most, or null when overview, users and features are at ${ENOUGH_COVERAGE} or above. One thing at a time, short, for a person who may not know the code; options: up to 5 likely answers, when there are such.`,
    context.analysis.greenfield
      ? 'The repository is new: nothing there answers a question.'
      : 'Do not ask what the repository answers. A question about something that exists names it; files: the paths in the repository that the question is about.',
    exchanges.length > 0 ? 'Never ask again what was asked, in other words either; an answer such as "I do not know" settles a question: take a sensible default.' : '',
  ]
  return asking(wanted, step, rules, SCHEMA, 700, 'Hands in scores and the next question.', repeated)
}

/** One request about what is wanted; what does not fit under the cap is shortened, answers last. @throws DomainError token_cap_too_small */
export function asking({ context, input, exchanges }: Wanted, step: string, rules: readonly string[], schema: Record<string, unknown>, answerTokens: number, description: string, note: string | null): DesignRequest {
  const build = (_: readonly never[], detail: number): DesignRequest => {
    const each = Math.max(60, Math.floor(share(context, 0.35, Math.max(detail, 0.05)) / Math.max(1, exchanges.length)))
    return forcedSubmit(context.sessionId, step, rules, [
      `What is wanted:\n${shorten(input, Math.max(200, share(context, 0.3, detail)))}`,
      context.revisions.length > 0 ? `Asked for in review:\n${context.revisions.map((line) => `- ${shorten(line, Math.max(200, share(context, 0.1, detail)))}`).join('\n')}` : '',
      exchanges.length > 0 ? `Asked so far:\n${exchanges.map(({ number, question, answer }) => `${number}. ${shorten(question, Math.max(60, each >> 1))}\n   ${answer === null ? '(not answered)' : shorten(answer, each)}`).join('\n')}` : '',
      analysisText(context.analysis, share(context, 0.15, detail)),
      note ?? '',
    ], schema, Math.min(answerTokens, Math.floor(context.cap * 0.4)), description)
  }
  return widen(takeChunk([], context.cap, build, { what: () => `step ${step}` }).request, context.cap)
}
