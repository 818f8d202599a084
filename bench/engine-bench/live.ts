import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createTicket } from '@swarm/contract/endpoints/tickets.ts'
import { benchmark, median, percentile, type Benchmark, type Suite } from '../measure.ts'
import { createPlace, folder, startServer } from './world.ts'

/** From an event's commit to the clients that hear of it, by loopback, the clients in a process of their own. Its limit: the same with one client. */
export async function liveEvents({ quick, note }: Suite): Promise<Benchmark[]> {
  const events = quick ? 10 : 30
  const one = await heardAfter(1, events)
  const many = await heardAfter(1000, events)
  note(`an event reaches 1,000 clients: p50 ${median(many).toFixed(0)} ms, p95 ${percentile(many, 0.95).toFixed(0)} ms`)
  return [benchmark({ name: 'event → 1,000 WebSocket clients, p95', unit: 'ms', value: percentile(many, 0.95), limit: percentile(one, 0.95), runs: events, most: 250 })]
}

/** How long after its time each event came to each client, ms. */
async function heardAfter(clients: number, events: number): Promise<number[]> {
  using home = folder()
  await using server = await startServer(home.path)
  const place = await createPlace(server.admin)
  const child = spawn(process.execPath, [join(import.meta.dirname, 'live-clients.ts'), '--url', server.url, '--clients', String(clients)], {
    stdio: ['pipe', 'pipe', 'inherit'], env: { PATH: process.env['PATH'], SWARM_BENCH_TOKEN: server.token },
  })
  const exited = new Promise((resolve) => { child.once('exit', resolve) })
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const next = async () => {
      const { value, done } = await lines.next()
      if (done) throw new Error('the clients ended')
      return JSON.parse(value) as { ticketId?: string; at?: number[] }
    }
    await next()
    const figures: number[] = []
    for (let event = -2; event < events; event++) {
      const ticket = await server.admin.call(createTicket, { body: { ...place, title: `Event ${event}`, agent: 'developer' } })
      const { at = [] } = await next()
      if (event >= 0) figures.push(...at.map((each) => each - ticket.createdAt))
    }
    return figures
  } finally {
    child.stdin.end()
    await exited
  }
}
