import { drainRunner } from '@swarm/contract/endpoints/runners.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const runnerDrain = command({
  name: 'runner drain',
  summary: 'Gives a host no new work; what it holds it brings to its end',
  description: 'That stays so when it or the server is started anew, until "swarm runner undrain".',
  examples: [['swarm runner drain RUN-7Q2M9XKD --reason "a new disk"', 'before its machine is stopped']],
  arguments: [{ name: 'id', description: 'the host' }],
  options: [{ flags: '--reason <text>', description: 'why; it is recorded and shown' }],
  input: z.object({ id: z.string(), reason: z.string().trim().min(1, 'say why').default('drained by a person') }),
  async run({ id, reason }, { settings, signal }) {
    const runner = await connect(settings().config).client.call(drainRunner, { params: { runnerId: id }, body: { reason } }, { signal })
    return { json: runner, text: `${runner.name} is given no new work. "swarm runner show ${id}" says what it still holds.` }
  },
})
