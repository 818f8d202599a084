import { diffChange } from '@swarm/contract/endpoints/changes.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const changeDiff = command({
  name: 'change diff',
  summary: 'Prints a change as a unified diff',
  examples: [['swarm change diff CHG-7Q2M9XKD', 'as git would show it'], ['swarm change diff CHG-7Q2M9XKD | git apply --stat', 'for other tools']],
  arguments: [{ name: 'id', description: 'the change, or its ticket' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal, io }) {
    const diff = await connect(settings().config).client.call(diffChange, { params: { changeId: id } }, { signal })
    if (diff.truncated) io.say('the diff is longer than what is shown')
    return { json: diff, text: diff.patch }
  },
})
