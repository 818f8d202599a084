import { answerQuestion, showQuestion } from '@swarm/contract/endpoints/tickets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { UserError } from '../../errors.ts'
import { connect } from '../../platform/connect.ts'

export const questionAnswer = command({
  name: 'question answer',
  summary: 'Answers an agent; its attempt goes on',
  examples: [['swarm question answer QST-7Q2M9XKD "Every one, each under a key of its own."', 'the first answer counts'], ['swarm question answer QST-7Q2M9XKD --option 2', 'the second of the options that it offers']],
  arguments: [{ name: 'id', description: 'the question' }, { name: 'answer', description: 'what the agent is told', variadic: true, optional: true }],
  options: [{ flags: '--option <number>', description: 'one of its options, by number' }],
  input: z.object({ id: z.string(), answer: z.array(z.string()).default([]), option: z.coerce.number('give the number of an option').int().min(1).optional() })
    .refine(({ answer, option }) => (answer.length > 0) !== (option !== undefined), { path: ['answer'], message: 'say either an answer or --option' }),
  async run({ id, answer, option }, { settings, signal }) {
    const { client } = connect(settings().config)
    const { options } = option === undefined ? { options: [] } : await client.call(showQuestion, { params: { questionId: id } }, { signal })
    const chosen = option === undefined ? answer.join(' ') : options[option - 1]
    if (chosen === undefined) throw new UserError('no_such_option', `${id} has ${options.length} options.`, `Look at them with "swarm question show ${id}", or answer in words.`)
    const question = await client.call(answerQuestion, { params: { questionId: id }, body: { answer: chosen } }, { signal })
    return { json: question, text: `${question.id} is answered; ${question.ticketId} goes on` }
  },
})
