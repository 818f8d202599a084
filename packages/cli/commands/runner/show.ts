import { showRunner } from '@swarm/contract/endpoints/runners.ts'
import { z } from 'zod'
import { command } from '../../command.ts'
import { time } from '../../io.ts'
import { connect } from '../../platform/connect.ts'
import { Since } from '../../since.ts'

export const runnerShow = command({
  name: 'runner show',
  summary: 'Shows a host: what it runs now, when it was started, and how its microVMs ended',
  examples: [['swarm runner show RUN-7Q2M9XKD', 'with the last 14 days'], ['swarm runner show RUN-7Q2M9XKD --since 4w', 'with what ended in the last four weeks']],
  arguments: [{ name: 'id', description: 'the host' }],
  options: [{ flags: '--since <time>', description: 'what ended from this time on: a date, or 12h, 7d, 4w ago' }],
  input: z.object({ id: z.string(), since: Since.optional() }),
  async run({ id, since }, { settings, signal }) {
    const runner = await connect(settings().config).client.call(showRunner, { params: { runnerId: id }, query: { since } }, { signal })
    const { draining, vms, boots } = runner
    return {
      json: runner,
      text: [
        `${runner.id}  ${runner.name}  ${runner.online ? 'online' : 'offline'}${draining === null ? '' : `, drained since ${time(draining.since)} by ${draining.by}: ${draining.reason}`}`,
        `  driver     ${runner.driver ?? '-'}${runner.isolates === false ? ', which isolates nothing' : ''}; ${runner.capacity} at once`, `  room       ${runner.noRoom === null ? '-' : `for no further microVM: ${runner.noRoom}`}`,
        `  seen       ${time(runner.seenAt)}; started ${boots.length === 0 ? 'never' : `${time(boots[0]?.at ?? null)} (${boots.length} starts shown by --json)`}`, `  microVMs   ${vms.running} running, ${vms.paused} paused, ${vms.starting} starting`,
        `  holds      ${runner.held === 0 ? 'nothing' : runner.holds.map((work) => `${work.kind} ${work.id}${work.ticketId === null ? '' : ` of ${work.ticketId}`} since ${time(work.since)}`).join('\n             ')}`,
        ...(runner.ended.length === 0 ? [] : ['', ...runner.ended.map(({ day, reason, vms: count }) => `  ${day}  ${String(count).padStart(5)} ended: ${reason}`)]),
      ].join('\n'),
    }
  },
})
