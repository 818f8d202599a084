import { z } from 'zod'
import { endpoint, inParams } from '../endpoint.ts'
import { AttemptWork } from '../runner-protocol.ts'

const ById = z.object({ attemptId: z.string() })

/** What the runner was given, without the token that spoke for the attempt. */
export const RecordedWork = AttemptWork.omit({ token: true })
export type RecordedWork = z.infer<typeof RecordedWork>

export const Recording = z.object({
  attemptId: z.string(), ticketId: z.string(), repositoryId: z.string(), state: z.string(), failureReason: z.string().nullable(),
  /** Digests (hex) of the guest images that its microVMs started from. */
  imageDigests: z.array(z.string()),
  /** One for each time that a runner took it: an attempt that asked a person goes on in another one. */
  stays: z.array(z.object({
    fence: z.number().int(), work: RecordedWork,
    /** Answered model calls, in the order in which they were made. Refused, failed and repeated ones are not among them. */
    exchanges: z.array(z.object({ callId: z.string(), model: z.string() })),
    /** How many calls got no answer that the agent went on with. */
    unanswered: z.number().int(),
    /** What it left behind: the commit that it handed in or saved; null when nothing was pushed. */
    resultSha: z.string().nullable(),
    /** handed_in, question, or why it ended. */
    outcome: z.string(),
  })).min(1),
})
export type Recording = z.infer<typeof Recording>

export const showRecording = endpoint({
  method: 'GET', path: '/api/attempts/:attemptId/recording', access: ['person'], action: 'ticket:read', on: inParams('attempt', 'attemptId'), tag: 'tickets', summary: 'What a replay of an attempt starts from: its work as it was given, and its model calls',
  params: ById, response: Recording,
})
export const showRecordedExchange = endpoint({
  method: 'GET', path: '/api/attempts/:attemptId/recording/:callId', access: ['person'], action: 'ticket:read', on: inParams('attempt', 'attemptId'), tag: 'tickets', summary: 'One model call of an attempt, as it was sent and answered',
  params: ById.extend({ callId: z.string() }),
  response: z.object({ callId: z.string(), /** The body that was sent. */ request: z.string(), /** The body of the answer: server-sent events, or one JSON message where the request asked for no stream. */ response: z.string() }),
})
