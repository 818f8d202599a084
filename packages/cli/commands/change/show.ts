import { showChange } from '@swarm/contract/endpoints/changes.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const changeShow = command({
  name: 'change show',
  summary: 'Shows a change with its evidence and its place in the merge queue',
  examples: [['swarm change show CHG-7Q2M9XKD', 'or the id of its ticket']],
  arguments: [{ name: 'id', description: 'the change, or its ticket' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const change = await connect(settings().config).client.call(showChange, { params: { changeId: id } }, { signal })
    return {
      json: change,
      text: [
        `${change.id}  ${change.title}`, `  state   ${change.state}${change.mergedSha === null ? '' : ` as ${change.mergedSha}`}`, `  ticket  ${change.ticketId}`, `  head    ${change.headSha} on ${change.branch}`,
        ...(change.merge === null ? [] : [`  queue   ${change.merge.state}${change.merge.reason === null ? '' : `: ${change.merge.reason}`}`]), '', change.body,
      ].join('\n'),
    }
  },
})
