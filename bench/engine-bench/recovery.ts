import { benchmark, median, type Benchmark, type Suite } from '../measure.ts'
import { createPlace, folder, openHome, registerBenchRunner, seedTickets, startServer } from './world.ts'

const TICKETS = 10_000
const HELD = 10

/** kill -9 of the server with 10,000 tickets and work in flight, until a new process of it hands out work again. Its limit: the same start over an empty home. */
export async function recovery({ quick, note }: Suite): Promise<Benchmark[]> {
  const runs = quick ? 3 : 5
  const empty: number[] = []
  for (let run = 0; run < runs; run++) {
    using bare = folder()
    const startedAt = performance.now()
    await using server = await startServer(bare.path)
    empty.push(performance.now() - startedAt)
    void server
  }
  using home = folder()
  let server = await startServer(home.path)
  const place = await createPlace(server.admin)
  await server[Symbol.asyncDispose]()
  await (async () => {
    await using db = await openHome(home.path)
    await seedTickets(db, place, TICKETS)
  })()
  const figures: number[] = []
  server = await startServer(home.path)
  for (let run = 0; run < runs; run++) {
    const runner = await registerBenchRunner(server, 'recovery')
    await Promise.all(Array.from({ length: HELD }, () => runner.claim(20_000)))
    await server.kill()
    const killedAt = performance.now()
    server = await startServer(home.path)
    const again = await registerBenchRunner(server, 'recovery')
    if (await again.claim(20_000) === null) throw new Error('no work after the restart')
    figures.push(performance.now() - killedAt)
    note(`served and gave work ${figures.at(-1)!.toFixed(0)} ms after kill -9`)
  }
  await server[Symbol.asyncDispose]()
  return [benchmark({ name: 'kill -9 → work given again, 10,000 tickets', unit: 'ms', value: median(figures), limit: median(empty), runs, most: 5_000 })]
}
