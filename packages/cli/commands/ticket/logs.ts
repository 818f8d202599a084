import { ticketActivity } from '@swarm/contract/endpoints/tickets.ts'
import type { AgentEvent } from '@swarm/contract/agent-protocol.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { all } from '../../run/target.ts'

export const ticketLogs = command({
  name: 'ticket logs',
  summary: 'Prints what the agents of a ticket did, in order',
  examples: [['swarm ticket logs TKT-7Q2M9XKD', 'turns, tools, commands with their output'], ['swarm ticket logs TKT-7Q2M9XKD --attempt ATT-2M9XKD7Q', 'of one attempt']],
  arguments: [{ name: 'id', description: 'the ticket' }],
  options: [{ flags: '--attempt <id>', description: 'only this attempt' }],
  input: z.object({ id: z.string(), attempt: z.string().optional() }),
  async run({ id, attempt }, { settings, signal }) {
    const { client } = connect(settings().config)
    const activity = (await all((cursor) => client.call(ticketActivity, { params: { ticketId: id }, query: { limit: 200, ...cursor } }, { signal }))).filter(({ attemptId }) => attempt === undefined || attemptId === attempt)
    return { json: { activity }, text: activity.map(({ at, attemptId, event }) => `${time(at)} ${attemptId} ${lineOf(event)}`).join('\n') }
  },
})

function lineOf(event: AgentEvent): string {
  switch (event.type) {
    case 'turn': return `turn ${event.number}: ${event.inputTokens + event.cacheReadTokens} tokens in, ${event.outputTokens} out`
    case 'text': return event.text
    case 'tool_call': return `→ ${event.tool} ${event.summary}`
    case 'tool_result': return `← ${event.tool} ${event.ok ? 'ok' : 'failed'}: ${event.summary}`
    case 'command': return event.partial ? event.output.trimEnd() : `$ ${event.command}  [exit ${event.exitCode ?? 'killed'}]\n${event.output.trimEnd()}`
    case 'compacted': return `context shortened: ${event.elided} results elided`
    case 'finished': return `finished: ${event.summary}`
    case 'question': return `asks: ${event.question}`
    case 'failed': return `failed: ${event.reason}: ${event.message}`
  }
}
