import { removeView } from '@swarm/contract/endpoints/views.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const viewRemove = command({
  name: 'view remove',
  summary: 'Removes a saved view of a board',
  examples: [['swarm view remove VIW-7Q2M9XKD', 'your own, or one that is shared where you work']],
  arguments: [{ name: 'id', description: 'the view' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    await connect(settings().config).client.call(removeView, { params: { viewId: id } }, { signal })
    return { json: { removed: id }, text: `${id} was removed.` }
  },
})
