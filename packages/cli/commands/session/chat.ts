import { showSession } from '@swarm/contract/endpoints/design.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { UserError } from '../../errors.ts'
import { EXIT } from '../../exit-codes.ts'
import { plain } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { answerQuestion, openQuestion } from '../../run/clarify.ts'
import { follow, inBatches } from '../../run/live.ts'

export const sessionChat = command({
  name: 'session chat',
  summary: 'Answers the questions of a design session as they come',
  examples: [['swarm session chat SES-7Q2M9XKD', 'until nothing more is asked']],
  arguments: [{ name: 'id', description: 'the design session' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal, io }) {
    const { client, server } = connect(settings().config)
    const said = new Set<number>()
    const leaving = new AbortController()
    try {
      for await (const batch of inBatches(follow({ client, url: server.url, rooms: [`session:${id}`], signal: AbortSignal.any([signal, leaving.signal]) }))) {
        if (batch.every(({ kind }) => kind === 'beat')) continue
        const session = await client.call(showSession, { params: { sessionId: id } }, { signal })
        for (const { number, acknowledgement } of session.clarification.questions) {
          if (!acknowledgement || said.has(number)) continue
          io.say(io.style('green', plain(acknowledgement)))
          said.add(number)
        }
        if (session.state !== 'input' && session.state !== 'clarifying') return { json: session, text: `${id} asks nothing more; it is ${session.state}` }
        const question = openQuestion(session)
        if (question === undefined) io.status('the designer thinks')
        else if (io.interactive) await answerQuestion(id, question, { client, io, signal })
        else throw new UserError('decision_needed', `${id} asks: ${plain(question.question)}`, `Nobody is here to answer; answer with "swarm session answer ${id} …".`, EXIT.person)
      }
      throw new Error('the events of the session ended before it did')
    } finally {
      leaving.abort(new Error('the questions are over'))
      io.status(null)
    }
  },
})
