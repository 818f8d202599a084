import { forkVm } from '@swarm/contract/endpoints/vms.ts'
import { MAX_FORKS } from '@swarm/contract/vm-operations.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { connect } from '../../platform/connect.ts'

export const vmFork = command({
  name: 'vm fork',
  summary: 'Makes copies of a running microVM that go on from where it is',
  description: 'What runs in it runs in each copy, which has a disk, ids and a clock of its own, and no way out: what is connected there breaks. To look into and try things in, while the original works on. A copy takes its whole memory, and ends after its minutes, with "swarm vm kill" or with its runner.',
  examples: [['swarm vm fork VM-7Q2M9XKD', 'one copy, for an hour; then "swarm vm shell" into it'], ['swarm vm fork VM-7Q2M9XKD --count 3 --minutes 10', 'three of them']],
  arguments: [{ name: 'id', description: 'the microVM' }],
  options: [{ flags: '--count <number>', description: `how many (1 unless given, ${MAX_FORKS} at most)` }, { flags: '--minutes <number>', description: 'they are ended after so long (60 unless given, 720 at most)' }],
  input: z.object({
    id: z.string(), count: z.coerce.number('give a number').int().min(1).max(MAX_FORKS, `at most ${MAX_FORKS}`).default(1), minutes: z.coerce.number('give a number').positive().max(720, 'at most 720').default(60),
  }),
  async run({ id, count, minutes }, { settings, signal }) {
    const { operation, vmIds } = await connect(settings().config).client.call(forkVm, { params: { vmId: id }, body: { count, minutes } }, { signal })
    return { json: { operation, vmIds }, text: vmIds.join('\n') }
  },
})
