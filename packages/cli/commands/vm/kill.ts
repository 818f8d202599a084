import { killVm } from '@swarm/contract/endpoints/vms.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const vmKill = command({
  name: 'vm kill',
  summary: 'Ends a microVM at once',
  description: 'What was not pushed since the last checkpoint is lost. Its work is tried again in another microVM, as after a fault of the machine; to stop the work itself, hold or cancel its ticket.',
  examples: [['swarm vm kill VM-7Q2M9XKD --reason "it does not answer"', 'and say why']],
  arguments: [{ name: 'id', description: 'the microVM' }],
  options: [{ flags: '--reason <text>', description: 'why; it is recorded' }],
  input: z.object({ id: z.string(), reason: z.string().trim().min(1, 'say why').default('ended by a person') }),
  async run({ id, reason }, { settings, signal }) {
    const operation = await connect(settings().config).client.call(killVm, { params: { vmId: id }, body: { reason } }, { signal })
    return { json: operation, text: `${id} was ended (${operation.id}).` }
  },
})
