import { undrainRunner } from '@swarm/contract/endpoints/runners.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const runnerUndrain = command({
  name: 'runner undrain',
  summary: 'Gives a host work again',
  examples: [['swarm runner undrain RUN-7Q2M9XKD', 'at once, when there is some']],
  arguments: [{ name: 'id', description: 'the host' }],
  input: z.object({ id: z.string() }),
  async run({ id }, { settings, signal }) {
    const runner = await connect(settings().config).client.call(undrainRunner, { params: { runnerId: id } }, { signal })
    return { json: runner, text: `${runner.name} is given work again.` }
  },
})
