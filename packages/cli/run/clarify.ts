import { isCancel, select, text } from '@clack/prompts'
import type { Client } from '@swarm/contract/client.ts'
import { answerSession, skipQuestions, type Clarification, type DesignSessionDetail } from '@swarm/contract/endpoints/design.ts'
import { ApiError } from '@swarm/contract/errors.ts'
import { COVERAGE_AREAS, ENOUGH_COVERAGE, NEEDED_AREAS } from '@swarm/core/design/clarify.ts'
import { Interrupted } from '../errors.ts'
import { plain, type Io } from '../io.ts'

/** The question that waits for an answer. */
export function openQuestion({ clarification: { open, questions } }: DesignSessionDetail): Clarification | undefined {
  return questions.find(({ number }) => number === open)
}

/** A question with what belongs to it: scores, what it is about, likely answers. */
export function questionLines(question: Clarification): string[] {
  return [
    `question ${question.number} (${question.area}): ${plain(question.question)}`,
    ...(question.files.length === 0 ? [] : [`  about ${question.files.map(plain).join(', ')}`]),
    ...question.options.map((option) => `  - ${plain(option)}`),
    `  known so far: ${coverageText(question.coverage)}`,
  ]
}

/** `overview 40, users 80 ✓ …`: the areas that are needed first. */
export function coverageText(coverage: Clarification['coverage']): string {
  const needed: readonly string[] = NEEDED_AREAS
  return COVERAGE_AREAS.map((area) => `${area} ${coverage[area]}${needed.includes(area) && coverage[area] >= ENOUGH_COVERAGE ? ' ✓' : ''}`).join(', ')
}

/** Asks the person who is here. The questions can be ended at each of them. */
export async function answerQuestion(sessionId: string, question: Clarification, { client, io, signal }: { client: Client; io: Io; signal: AbortSignal }): Promise<void> {
  io.status(null)
  for (const line of questionLines(question)) io.say(line)
  const [own, enough] = ['\u0000own', '\u0000enough']
  const chosen = given(await select({
    message: 'Your answer', output: process.stderr, signal,
    options: [...question.options.map((option) => ({ value: option, label: plain(option) })), { value: own, label: 'in my own words' }, { value: enough, label: 'no more questions: go on with what is known' }],
  }), signal)
  try {
    if (chosen === enough) await client.call(skipQuestions, { params: { sessionId } }, { signal })
    else {
      const answer = chosen === own ? given(await text({ message: 'Your answer', output: process.stderr, signal, validate: (value) => (!value?.trim() ? 'Write an answer' : undefined) }), signal) : chosen
      await client.call(answerSession, { params: { sessionId }, body: { number: question.number, answer } }, { signal })
    }
  } catch (error) {
    // Somebody else was faster: the next look shows how things stand.
    if (!(error instanceof ApiError) || !['question_closed', 'illegal_transition'].includes(error.code)) throw error
    io.say(`  ${error.message}`)
  }
}

/** A prompt's value. Ctrl-C in a prompt is Ctrl-C. */
function given(value: string | symbol, signal: AbortSignal): string {
  if (signal.aborted) throw signal.reason
  if (isCancel(value)) throw new Interrupted('SIGINT')
  return String(value)
}
