import { resumeVm } from '@swarm/contract/endpoints/vms.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const vmResume = command({
  name: 'vm resume',
  summary: 'Has a paused microVM go on, with its clock set right',
  examples: [['swarm vm resume VM-7Q2M9XKD', 'after "swarm vm pause"']],
  arguments: [{ name: 'id', description: 'the microVM' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const operation = await connect(settings().config).client.call(resumeVm, { params: { vmId: id }, body: {} }, { signal })
    return { json: operation, text: `${id} goes on (${operation.id}).` }
  },
})
