import { retrySession } from '@swarm/contract/endpoints/design.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const sessionRetry = command({
  name: 'session retry',
  summary: 'Takes up a failed design or build where it ended',
  examples: [['swarm session retry SES-7Q2M9XKD', 'steps that are done are not paid again']],
  arguments: [{ name: 'id', description: 'the design session' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const session = await connect(settings().config).client.call(retrySession, { params: { sessionId: id } }, { signal })
    return { json: session, text: `${session.id} is ${session.state} now` }
  },
})
