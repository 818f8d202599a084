import { listVms, VmStateFilter } from '@swarm/contract/endpoints/runners.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { size, table, time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { Since } from '../../since.ts'

export const vmList = command({
  name: 'vm list',
  summary: 'Lists microVMs, newest first',
  examples: [['swarm vm list --state running', 'those that run now, with what they use'], ['swarm vm list --limit 500', 'and those that ran'], ['swarm vm list --runner RUN-7Q2M9XKD --since 12h', 'those that ran on one host in the last twelve hours'], ['swarm vm list --state paused', 'those that stand still']],
  options: [{ flags: '--state <state>', description: 'starting, running, paused or ended' }, { flags: '--runner <id>', description: 'only those of this host' }, { flags: '--ticket <id>', description: 'only those that worked on this ticket' }, { flags: '--since <time>', description: 'only those that ran at this time or later: a date, or 12h, 7d, 4w ago' }, { flags: '--limit <number>', description: 'how many (200 unless given)' }],
  input: z.object({ state: z.enum(VmStateFilter.options, 'choose starting, running, paused or ended').optional(), runner: z.string().optional(), ticket: z.string().optional(), since: Since.optional(), limit: z.coerce.number('give a number').int().min(1).max(1000).default(200) }),
  async run({ state, runner, ticket, since, limit }, { settings, signal }) {
    const { items: vms } = await connect(settings().config).client.call(listVms, { query: { limit, state, runnerId: runner, ticketId: ticket, since } }, { signal })
    return {
      json: { vms },
      text: table(['id', 'work', 'ticket', 'driver', 'state', 'restored', 'cores', 'memory', 'disk', 'started', 'ended'], vms.map((vm) => [
        vm.id, `${vm.workKind} ${vm.workId}`, vm.ticketId ?? '-', vm.driver, vm.paused ? 'paused' : vm.state, vm.restoreMs === null ? '-' : `${vm.restoreMs} ms`,
        ...(vm.usage === null || vm.state === 'ended' ? ['-', '-', '-'] : [(vm.usage.cpuMillicores / 1_000).toFixed(2), size(vm.usage.pssBytes), size(vm.usage.scratchBytes)]),
        time(vm.startedAt), vm.endedAt === null ? '-' : `${time(vm.endedAt)} ${vm.endReason ?? ''}`,
      ])),
    }
  },
})
