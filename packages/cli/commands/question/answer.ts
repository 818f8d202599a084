import { answerQuestion } from '@swarm/contract/endpoints/tickets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const questionAnswer = command({
  name: 'question answer',
  summary: 'Answers an agent; its attempt goes on',
  examples: [['swarm question answer QST-7Q2M9XKD "Every one, each under a key of its own."', 'the first answer counts']],
  arguments: [{ name: 'id', description: 'the question' }, { name: 'answer', description: 'what the agent is told', variadic: true }],
  input: z.object({ id: z.string(), answer: z.array(z.string()).min(1) }),
  async run({ id, answer }, { settings, signal }) {
    const question = await connect(settings().config).client.call(answerQuestion, { params: { questionId: id }, body: { answer: answer.join(' ') } }, { signal })
    return { json: question, text: `${question.id} is answered; ${question.ticketId} goes on` }
  },
})
