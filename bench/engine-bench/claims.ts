import { request as httpRequest, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { cancelTicket, createTicket, showTicket } from '@swarm/contract/endpoints/tickets.ts'
import { release, type Work } from '@swarm/contract/runner-protocol.ts'
import { claimTicket, type ClaimRules } from '@swarm/server/features/tickets/claim.ts'
import { releaseAttempt } from '@swarm/server/features/tickets/reports.ts'
import { newId } from '@swarm/server/ids.ts'
import { benchmark, median, percentile, elapsedMs, type Benchmark, type Suite } from '../measure.ts'
import { createPlace, folder, openHome, placeInDatabase, registerBenchRunner, seedTickets, startServer } from './world.ts'

export const ENGINE = { now: Date.now, random: Math.random, makeId: newId }
export const RULES: ClaimRules = { leaseTtlMs: 600_000, concurrency: 100_000, concurrencyOf: async () => 100_000, agentVersion: async () => ({ version: 1, minutes: 30 }) }
const WARM_UP = 10

function ticketOf(work: Work | null): string {
  if (work?.kind !== 'attempt') throw new Error('no work was given')
  return work.ticketId
}

/**
 * From the moment that a ticket is recorded as ready, through the real server's long poll: to its claim (by the times that the server
 * recorded, whole ms), and to the runner that has everything in hand (commit, swarm.yml, conventions, start ref, token).
 */
export async function claimLatency({ quick, note }: Suite): Promise<Benchmark[]> {
  const runs = quick ? 60 : 300
  using home = folder()
  await using server = await startServer(home.path)
  const place = await createPlace(server.admin)
  const runner = await registerBenchRunner(server, 'latency')
  const giveBack = async (work: Work | null) => {
    if (work?.kind !== 'attempt') throw new Error('no work was given')
    await server.admin.call(cancelTicket, { params: { ticketId: work.ticketId }, body: { reason: 'measured' } })
    await runner.client.call(release, { body: { kind: 'attempt', id: work.attemptId, fence: work.fence, reason: 'shutdown', wipSha: null } })
  }
  const ask = (title: string) => server.admin.call(createTicket, { body: { ...place, title, agent: 'developer', scope: [`src/${title}.js`] } })

  const idle: number[] = []
  const claimed: number[] = []
  for (let run = -WARM_UP; run < runs; run++) {
    const waiting = runner.claim(20_000).then((work) => ({ work, at: performance.timeOrigin + performance.now() }))
    const ticket = await ask(`idle-${run + WARM_UP}`)
    const { work, at } = await waiting
    if (run >= 0) {
      idle.push(at - ticket.createdAt)
      claimed.push((await server.admin.call(showTicket, { params: { ticketId: ticket.id } })).history[0]!.createdAt - ticket.createdAt)
    }
    await giveBack(work)
  }
  note(`ready → claimed, idle: p50 ${percentile(idle, 0.5).toFixed(1)} ms`)
  for (let count = 0; count < 1000; count += 20) await Promise.all(Array.from({ length: 20 }, (_, index) => ask(`busy-${count + index}`)))
  const busy: number[] = []
  const busyClaimed: number[] = []
  for (let run = -WARM_UP; run < runs; run++) {
    let work: Work | null = null
    const askedAt = performance.timeOrigin + performance.now()
    const took = await elapsedMs(async () => { work = await runner.claim(20_000) })
    if (run >= 0) {
      busy.push(took)
      busyClaimed.push(Math.max(0, (await server.admin.call(showTicket, { params: { ticketId: ticketOf(work) } })).history.at(-1)!.createdAt - Math.floor(askedAt)))
    }
    await giveBack(work)
    await ask(`again-${run + WARM_UP}`)
  }
  note(`asked → claimed, 1,000 ready: p50 ${percentile(busy, 0.5).toFixed(1)} ms`)
  const bare = await bareLongPoll(runs)
  return [
    benchmark({ name: 'ready → claimed, idle, p50', unit: 'ms', value: median(claimed), limit: median(bare), runs, most: 10 }),
    benchmark({ name: 'ready → claimed, idle, p99', unit: 'ms', value: percentile(claimed, 0.99), limit: percentile(bare, 0.99), runs, most: 50 }),
    benchmark({ name: 'asked → claimed, 1,000 ready, p50', unit: 'ms', value: median(busyClaimed), limit: median(bare), runs, most: 10 }),
    benchmark({ name: 'asked → claimed, 1,000 ready, p99', unit: 'ms', value: percentile(busyClaimed, 0.99), limit: percentile(bare, 0.99), runs, most: 50 }),
    benchmark({ name: 'ready → prepared in the runner, idle, p50', unit: 'ms', value: median(idle), limit: median(bare), runs }),
    benchmark({ name: 'ready → prepared in the runner, idle, p99', unit: 'ms', value: percentile(idle, 0.99), limit: percentile(bare, 0.99), runs }),
    benchmark({ name: 'asked → prepared in the runner, 1,000 ready, p50', unit: 'ms', value: median(busy), limit: median(bare), runs }),
    benchmark({ name: 'asked → prepared in the runner, 1,000 ready, p99', unit: 'ms', value: percentile(busy, 0.99), limit: percentile(bare, 0.99), runs }),
  ]
}

/** The limit: a bare HTTP server that answers a held request as soon as another one comes. */
async function bareLongPoll(runs: number): Promise<number[]> {
  let held: (() => void) | undefined
  const server = createServer((request, response) => {
    if (request.url === '/wait') held = () => { response.end('{}') }
    else {
      held?.()
      response.end('{}')
    }
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const { port } = server.address() as AddressInfo
  const call = (path: string) => new Promise<void>((resolve, reject) => {
    httpRequest({ host: '127.0.0.1', port, path, method: 'POST' }, (response) => { response.resume().once('end', resolve) }).once('error', reject).end()
  })
  const figures: number[] = []
  for (let run = -WARM_UP; run < runs; run++) {
    held = undefined
    const waiting = call('/wait')
    while (held === undefined) await new Promise((resolve) => { setImmediate(resolve) })
    const startedAt = performance.now()
    await Promise.all([waiting, call('/go')])
    if (run >= 0) figures.push(performance.now() - startedAt)
  }
  server.closeAllConnections()
  await new Promise((resolve) => { server.close(resolve) })
  return figures
}

/** What one claim costs, in process, when ever more tickets of a graph stand behind it. The sizes take turns, so that a busy neighbour disturbs all alike. */
export async function claimCost({ quick, note }: Suite): Promise<Benchmark[]> {
  const runs = quick ? 150 : 500
  await using open = new AsyncDisposableStack()
  const places = []
  for (const count of [1_000, 10_000, 100_000]) {
    const home = open.use(folder())
    const db = open.use(await openHome(home.path))
    const place = await placeInDatabase(db)
    const took = await elapsedMs(() => seedTickets(db, place, count))
    note(`${count} tickets made in ${(took / 1000).toFixed(1)} s`)
    places.push({ count, db, place, figures: [] as number[] })
  }
  for (let run = -WARM_UP; run < runs; run++) {
    for (const { db, place, figures } of places) {
      const startedAt = performance.now()
      const attempt = await db.write((trx) => claimTicket(trx, ENGINE, RULES, place.runnerId, newId('call')))
      if (run >= 0) figures.push(performance.now() - startedAt)
      if (!attempt) throw new Error('nothing was claimed')
      await db.write((trx) => releaseAttempt(trx, ENGINE, place.runnerId, { id: attempt.id, fence: attempt.fence, reason: 'shutdown', wipSha: null }))
    }
  }
  const [small, middle, large] = places.map(({ count, figures }) => {
    note(`a claim among ${count} tickets: ${median(figures).toFixed(2)} ms`)
    return median(figures)
  }) as [number, number, number]
  return [
    benchmark({ name: 'claim, 1,000 tickets in a graph', unit: 'ms', value: small, runs }),
    benchmark({ name: 'claim, 10,000 tickets, beside 1,000', unit: 'ms', value: middle, limit: small, runs, most: 1.3, of: 'ratio' }),
    benchmark({ name: 'claim, 100,000 tickets, beside 1,000', unit: 'ms', value: large, limit: small, runs, most: 1.3, of: 'ratio' }),
  ]
}
