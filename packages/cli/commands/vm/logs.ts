import { vmLogs } from '@swarm/contract/endpoints/vms.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { plain } from '../../io.ts'
import { connect } from '../../platform/connect.ts'

export const vmLogsCommand = command({
  name: 'vm logs',
  summary: 'Prints what a microVM wrote',
  description: 'The output of what its work ran in it, then its console, as far as its runner still has them: the last 256 KiB of each, also of the last 32 that have ended, until the runner ends. What steers a terminal (colours too) is left out; --json has it.',
  examples: [['swarm vm logs VM-7Q2M9XKD', 'the last 64 KiB of each'], ['swarm vm logs VM-7Q2M9XKD --bytes 200000', 'more of it']],
  arguments: [{ name: 'id', description: 'the microVM' }],
  options: [{ flags: '--bytes <number>', description: 'of each, the last so many (65536 unless given)' }],
  input: z.object({ id: z.string(), bytes: z.coerce.number('give a number').int().min(1).max(512 * 1024, 'at most 524288').default(64 * 1024) }),
  async run({ id, bytes }, { settings, signal }) {
    const logs = await connect(settings().config).client.call(vmLogs, { params: { vmId: id }, query: { bytes } }, { signal })
    return { json: logs, text: `${plain(logs.output)}${logs.console === '' ? '' : `\n--- console ---\n${plain(logs.console)}`}` }
  },
})
