import { skipQuestions } from '@swarm/contract/endpoints/design.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const sessionSkip = command({
  name: 'session skip',
  summary: 'Ends the questions: a design session goes on with what is known',
  examples: [['swarm session skip SES-7Q2M9XKD', 'enough was said']],
  arguments: [{ name: 'id', description: 'the design session' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const session = await connect(settings().config).client.call(skipQuestions, { params: { sessionId: id } }, { signal })
    return { json: session, text: `${session.id} is ${session.state} now` }
  },
})
