/**
 * How fast the engine is: claims, recovery, resuming, makespan, live events.
 *
 *   npm run bench:engine -- [--json] [--quick] [--only NAME]
 *
 * Each figure is the median of several runs after a warm-up, with its plain limit measured beside it in the same run (the
 * same SQL without the engine, bare HTTP, the same programs without Swarm). Progress on stderr; a table on stdout, or with
 * --json one object on the last line: {benchmarks: [{name, unit, value, limit, ratio, target, met, runs}]}. A target that
 * is missed is printed as missed, and is no failure of the command. Under two minutes with --quick, under eight without, on two cores.
 */
import { parseArgs } from 'node:util'
import { claimCost, claimLatency } from './engine-bench/claims.ts'
import { liveEvents } from './engine-bench/live.ts'
import { makespan } from './engine-bench/makespan.ts'
import { tableOf, type Benchmark, type Suite } from './measure.ts'
import { onPostgres } from './engine-bench/postgres.ts'
import { recovery } from './engine-bench/recovery.ts'
import { resuming } from './engine-bench/resume.ts'
import { throughputInProcess, throughputOverHttp } from './engine-bench/throughput.ts'

const SUITES: Record<string, (suite: Suite) => Promise<Benchmark[]>> = {
  latency: claimLatency, cost: claimCost, process: throughputInProcess, http: throughputOverHttp, postgres: onPostgres, recovery, resume: resuming, makespan, live: liveEvents,
}

const { values } = parseArgs({ options: { json: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false }, only: { type: 'string' } } })
if (values.only !== undefined && !(values.only in SUITES)) {
  process.stderr.write(`There is no benchmark named ${values.only}; there are ${Object.keys(SUITES).join(', ')}.\n`)
  process.exit(2)
}

const benchmarks: Benchmark[] = []
for (const [name, suite] of Object.entries(SUITES)) {
  if (values.only !== undefined && values.only !== name) continue
  const startedAt = performance.now()
  benchmarks.push(...await suite({ quick: values.quick, note: (text) => { process.stderr.write(`${name}: ${text}\n`) } }))
  process.stderr.write(`${name}: ${((performance.now() - startedAt) / 1000).toFixed(0)} s\n`)
}
process.stdout.write(values.json ? `${JSON.stringify({ benchmarks })}\n` : `${tableOf(benchmarks)}\n`)
