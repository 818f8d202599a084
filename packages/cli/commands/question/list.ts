import { listQuestions } from '@swarm/contract/endpoints/tickets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const questionList = command({
  name: 'question list',
  summary: 'Lists what agents ask people',
  examples: [['swarm question list', 'those without an answer'], ['swarm question list --all', 'the answered ones too']],
  options: [{ flags: '--all', description: 'the answered ones too' }],
  input: z.object({ all: z.boolean().default(false) }),
  async run({ all }, { settings, signal }) {
    const { items: questions } = await connect(settings().config).client.call(listQuestions, { query: { open: all ? 'false' : 'true' } }, { signal })
    return {
      json: { questions },
      text: questions.length === 0 ? 'No agent asks anything.' : questions.map((each) => `${each.id}  ${each.ticketId}  ${each.text}${each.options.length === 0 ? '' : `  (${each.options.join(' | ')})`}${each.answer === null ? '' : `\n    ${each.answer}`}`).join('\n'),
    }
  },
})
