import { showQuestion, type Question } from '@swarm/contract/endpoints/tickets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { plain, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'

/** What an agent asks, with its options by number, and what it was told. */
export function shownQuestion(question: Question): string {
  const { id, ticketId, state, text, options, answer, answeredBy, answeredAt, createdAt } = question
  return [
    `${id}  ${state}  ${ticketId}, asked ${time(createdAt)}`, ...plain(text).split('\n').map((line) => `  ${line}`), ...options.map((option, index) => `    ${index + 1}. ${plain(option)}`),
    ...(answer === null ? [] : [`  answered by ${answeredBy ?? 'a person'}, ${time(answeredAt ?? createdAt)}: ${plain(answer)}`]),
  ].join('\n')
}

export const questionShow = command({
  name: 'question show',
  summary: 'Shows what an agent asks, its options, and the answer with who gave it',
  examples: [['swarm question show QST-7Q2M9XKD', 'an agent waits for the answer without a microVM']],
  arguments: [{ name: 'id', description: 'the question' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const question = await connect(settings().config).client.call(showQuestion, { params: { questionId: id } }, { signal })
    return { json: question, text: shownQuestion(question) }
  },
})
