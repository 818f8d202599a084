import { answerSession, showSession } from '@swarm/contract/endpoints/design.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { UserError } from '../../errors.ts'
import { connect } from '../../platform/connect.ts'
import { openQuestion } from '../../run/clarify.ts'

export const sessionAnswer = command({
  name: 'session answer',
  summary: 'Answers the question that a design session asks',
  examples: [['swarm session answer SES-7Q2M9XKD "Guests at a table, on their phones."', 'the first answer counts'], ['swarm session answer SES-7Q2M9XKD --question 2 euros', 'only if that is what is asked now']],
  arguments: [{ name: 'id', description: 'the design session' }, { name: 'answer', description: 'in your words', variadic: true }],
  options: [{ flags: '--question <number>', description: 'the question that is meant; the open one unless given' }],
  input: z.object({ id: z.string(), answer: z.array(z.string()).min(1), question: z.coerce.number().int().min(1).optional() }),
  async run({ id, answer, question }, { settings, signal }) {
    const { client } = connect(settings().config)
    const shown = await client.call(showSession, { params: { sessionId: id } }, { signal })
    const number = question ?? openQuestion(shown)?.number
    if (number === undefined) throw new UserError('no_question', `${id} asks nothing at the moment: it is ${shown.state}.`, `Look at it with "swarm session show ${id}".`)
    const session = await client.call(answerSession, { params: { sessionId: id }, body: { number, answer: answer.join(' ') } }, { signal })
    return { json: session, text: `question ${number} of ${id} is answered` }
  },
})
