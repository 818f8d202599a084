import { Logger, makeWorkerUtils, runOnce } from 'graphile-worker'
import { startPostgres } from '@swarm/server/db/testing-setup.ts'
import { openDatabase } from '@swarm/server/db/open.ts'
import { benchmark, elapsedMs, median, type Benchmark, type Suite } from '../measure.ts'
import { engineRate } from './throughput.ts'
import { folder, placeInDatabase } from './world.ts'

const CLIENTS = 24

/** Claim and complete on a PostgreSQL of this run (no fsync, a socket), beside jobs of graphile-worker that do nothing, both 24 at once. */
export async function onPostgres({ quick, note }: Suite): Promise<Benchmark[]> {
  const [runs, count] = [quick ? 2 : 5, quick ? 200 : 500]
  const started = await startPostgres()
  if ('missing' in started) {
    note(`left out: ${started.missing}`)
    return []
  }
  try {
    using home = folder()
    await using db = await openDatabase({ home: home.path, databaseUrl: started.url, poolSize: CLIENTS })
    const place = await placeInDatabase(db)
    const ours: number[] = []
    const theirs: number[] = []
    for (let turn = 0; turn <= runs; turn++) {
      const [rate, peer] = [await engineRate(db, place, CLIENTS, count), await graphileRate(started.url, count * 4)]
      note(`claim + complete ${rate.toFixed(0)}/s, graphile-worker ${peer.toFixed(0)}/s`)
      if (turn === 0) continue
      ours.push(rate)
      theirs.push(peer)
    }
    return [benchmark({ name: `claim + complete, PostgreSQL, in process, ${CLIENTS} at once, beside graphile-worker`, unit: '/s', value: median(ours), limit: median(theirs), runs, least: 1, of: 'ratio' })]
  } finally {
    await started.stop()
  }
}

const quiet = new Logger(() => () => undefined)

/** Jobs per second from a full queue to an empty one. */
async function graphileRate(connectionString: string, jobs: number): Promise<number> {
  const utils = await makeWorkerUtils({ connectionString, logger: quiet })
  try {
    await utils.migrate()
    await utils.withPgClient((client) => client.query("select graphile_worker.add_job('nothing', '{}'::json) from generate_series(1, $1::int)", [jobs]))
  } finally {
    await utils.release()
  }
  const took = await elapsedMs(() => runOnce({ connectionString, logger: quiet, concurrency: CLIENTS, maxPoolSize: CLIENTS, noHandleSignals: true, taskList: { nothing: async () => undefined } }))
  return jobs / took * 1000
}
