import { removeRunner } from '@swarm/contract/endpoints/runners.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const runnerRemove = command({
  name: 'runner remove',
  summary: 'Takes away a host that is offline and holds no work',
  description: 'Its token is revoked; what its microVMs did stays on record. Registering its name brings it back.',
  examples: [['swarm runner remove RUN-7Q2M9XKD', 'one whose machine is gone']],
  arguments: [{ name: 'id', description: 'the host' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    await connect(settings().config).client.call(removeRunner, { params: { runnerId: id } }, { signal })
    return { json: { removed: id }, text: `${id} was taken away.` }
  },
})
