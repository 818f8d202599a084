import { cancelSession } from '@swarm/contract/endpoints/design.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const sessionCancel = command({
  name: 'session cancel',
  summary: 'Cancels a design session before its build has begun, or takes a change of its build back',
  examples: [['swarm session cancel SES-7Q2M9XKD', 'nothing was built yet']],
  arguments: [{ name: 'id', description: 'the design session' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const session = await connect(settings().config).client.call(cancelSession, { params: { sessionId: id } }, { signal })
    return { json: session, text: `${session.id} is ${session.state} now` }
  },
})
