import { pauseVm } from '@swarm/contract/endpoints/vms.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const vmPause = command({
  name: 'vm pause',
  summary: 'Has a microVM stand still',
  description: 'Its runner keeps its leases. Its limit on wall clock runs on, and so does the patience of whatever it is talking to. "swarm vm resume" has it go on.',
  examples: [['swarm vm pause VM-7Q2M9XKD', 'until it is resumed']],
  arguments: [{ name: 'id', description: 'the microVM' }],
  options: [{ flags: '--reason <text>', description: 'why; it is recorded' }],
  input: z.object({ id: z.string(), reason: z.string().trim().min(1, 'say why').optional() }),
  async run({ id, reason }, { settings, signal }) {
    const operation = await connect(settings().config).client.call(pauseVm, { params: { vmId: id }, body: reason === undefined ? {} : { reason } }, { signal })
    return { json: operation, text: `${id} stands still (${operation.id}).` }
  },
})
