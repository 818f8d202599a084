import { listQuestions } from '@swarm/contract/endpoints/tickets.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'
import { all as allPages } from '../../run/target.ts'
import { shownQuestion } from './show.ts'

export const questionList = command({
  name: 'question list',
  summary: 'Lists what agents ask people',
  examples: [['swarm question list', 'those without an answer'], ['swarm question list --all', 'those that are answered or moot, too']],
  options: [{ flags: '--all', description: 'those that are answered or moot, too' }],
  input: z.object({ all: z.boolean().default(false) }),
  async run({ all }, { settings, signal }) {
    const { client } = connect(settings().config)
    const questions = await allPages((cursor) => client.call(listQuestions, { query: { open: all ? 'false' : 'true', limit: 200, ...cursor } }, { signal }))
    return { json: { questions }, text: questions.length === 0 ? 'No agent asks anything.' : questions.map(shownQuestion).join('\n') }
  },
})
