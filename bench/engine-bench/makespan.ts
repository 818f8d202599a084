import { spawn } from 'node:child_process'
import { decideApproval, listApprovals } from '@swarm/contract/endpoints/approvals.ts'
import { createAgent } from '@swarm/contract/endpoints/agents.ts'
import { createTicket, listTickets } from '@swarm/contract/endpoints/tickets.ts'
import { startTestPlatform } from '@swarm/testkit/platform/platform.ts'
import { until } from '@swarm/testkit/platform/until.ts'
import { benchmark, elapsedMs, median, type Benchmark, type Suite } from '../measure.ts'
import { createPlace } from './world.ts'

const TICKETS = 10

/**
 * Ten independent tickets at once, from their creation to the last merge: workspace, agent, push, gate, checks, approval (given at
 * once) and the merge queue. Agents are shell programs that take a fixed time, in the process driver. The ideal is the same ten
 * programs side by side and nothing else: no workspace, no gate, no checks, no merge.
 */
export async function makespan({ quick, note }: Suite): Promise<Benchmark[]> {
  const [runs, seconds] = [quick ? 1 : 2, quick ? 20 : 60]
  const figures: number[] = []
  const ideals: number[] = []
  for (let run = 0; run < runs; run++) {
    ideals.push(await elapsedMs(async () => {
      await Promise.all(Array.from({ length: TICKETS }, () => new Promise((resolve, reject) => { spawn('sh', ['-c', `sleep ${seconds}`], { stdio: 'ignore' }).once('exit', resolve).once('error', reject) })))
    }))
    await using platform = await startTestPlatform({ driver: 'process', slots: TICKETS })
    const { admin, context } = platform.server
    const place = await createPlace(admin)
    for (let index = 0; index < TICKETS; index++) {
      const commands = [`sleep ${seconds}`, `mkdir -p src && printf 'export const part = ${index}\\n' > src/part-${index}.js`]
      await admin.call(createAgent, { body: { name: `worker-${index}`, definition: { config: { template: 'shell', commands } } } })
    }
    figures.push(await elapsedMs(async () => {
      for (let index = 0; index < TICKETS; index++) await admin.call(createTicket, { body: { ...place, title: `Part ${index}`, agent: `worker-${index}`, scope: [`src/part-${index}.js`] } })
      await until(context, async () => {
        for (const approval of (await admin.call(listApprovals, { query: { status: 'pending' } })).items) {
          await admin.call(decideApproval, { params: { approvalId: approval.id }, body: { decision: 'approved', payloadHash: approval.payloadHash } })
        }
        const { items } = await admin.call(listTickets, { query: { limit: 50 } })
        const stuck = items.find((ticket) => ticket.state === 'on_hold')
        if (stuck) throw new Error(`${stuck.title} is on hold: ${stuck.holdReason}`)
        return items.every((ticket) => ticket.state === 'done')
      })
    }))
    note(`ten tickets of ${seconds} s: ${(figures.at(-1)! / 1000).toFixed(1)} s beside ${(ideals.at(-1)! / 1000).toFixed(1)} s`)
  }
  return [benchmark({ name: `makespan of 10 parallel tickets of ${seconds} s, all merged`, unit: 'ms', value: median(figures), limit: median(ideals), runs, most: 1.15, of: 'ratio' })]
}
