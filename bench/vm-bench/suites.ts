import type { Template, Vm } from '../../packages/runner/drivers/driver.ts'
import { benchmark, elapsedMs, median, percentile, type Benchmark } from '../measure.ts'
import type { Bare, Round, Timings } from './bare.ts'

/** What is measured: a driver that isolates, and the bare script beside it where there is one for its VMM. */
export interface Subject {
  readonly driver: { restore(template: Template, options: { id: string; limits: object; correlationId: string }): Promise<Vm>; prewarm(template: Template, count: number): Promise<void> }
  readonly template: Template
  readonly bare: Bare | null
  readonly note: (text: string) => void
}

const ECHO = { argv: ['/bin/echo', 'ok'] }
const MiB = 1024 * 1024
let number = 0

/**
 * One microVM, without a share of the CPU: with one it is in a group of its own, which the scheduler weighs like a single
 * process, so that a busy neighbour would disturb it more than the bare script. From the call of restore: ready when it is handed out, first when a
 * command was answered.
 */
async function restoreOne({ driver, template }: Subject, startedAt: number): Promise<Timings & { vm: Vm }> {
  const vm = await driver.restore(template, { id: `VM-BENCH${String(++number).padStart(5, '0')}`, limits: {}, correlationId: 'bench' })
  const readyMs = performance.now() - startedAt
  if ((await vm.exec(ECHO)).stdout !== 'ok\n') throw new Error('the first command gave no answer')
  return { vm, vmmMs: vm.vmmMs, readyMs, firstMs: performance.now() - startedAt }
}

/** A round with its end. */
interface Turn extends Round { endMs: number[]; allEndMs: number }

/** `count` at once, to the last answer; then memory, then the end of all. */
async function ourRound(subject: Subject, count: number, from: 'pool' | 'nothing'): Promise<Turn> {
  if (from === 'pool') await subject.driver.prewarm(subject.template, count)
  const startedAt = performance.now()
  const restored = await Promise.all(Array.from({ length: count }, () => restoreOne(subject, startedAt)))
  const pssBytes = await Promise.all(restored.map(async ({ vm }) => (await vm.stats()).pssBytes))
  const endMs: number[] = []
  const allEndMs = await elapsedMs(() => Promise.all(restored.map(async ({ vm }) => { endMs.push(await elapsedMs(() => vm[Symbol.asyncDispose]())) })))
  return { runs: restored.map(({ vmmMs, readyMs, firstMs }) => ({ vmmMs, readyMs, firstMs })), totalMs: Math.max(...restored.map(({ firstMs }) => firstMs)), pssBytes, endMs, allEndMs }
}

async function bareRound(bare: Bare, count: number, from: 'pool' | 'nothing'): Promise<Turn> {
  if (from === 'pool') await bare.spawn(count)
  const round = await bare.run(from === 'pool' ? undefined : count)
  const { ended, totalMs } = await bare.end()
  return { ...round, endMs: ended, allEndMs: totalMs }
}

/** Rounds of both in turns, so that a busy neighbour disturbs both alike; who is first changes each time. */
async function inTurns(subject: Subject, options: { count: number; from: 'pool' | 'nothing'; rounds: number }): Promise<{ ours: Turn[]; bare: Turn[] }> {
  const ours: Turn[] = []
  const bares: Turn[] = []
  for (let round = 0; round < options.rounds; round++) {
    const sides = [async () => { ours.push(await ourRound(subject, options.count, options.from)) }, async () => { if (subject.bare !== null) bares.push(await bareRound(subject.bare, options.count, options.from)) }]
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) await side()
    subject.note(`${options.count} from ${options.from === 'pool' ? 'the warm pool' : 'an empty pool'}, round ${round + 1} of ${options.rounds}: ${Math.round(ours.at(-1)?.totalMs ?? 0)} ms, bare ${Math.round(bares.at(-1)?.totalMs ?? 0)} ms`)
  }
  return { ours, bare: bares }
}

const SHARES = [['p50', 0.5], ['p95', 0.95], ['p99', 0.99]] as const

/** p50, p95 and p99 of one figure, with the bare script's beside it; the target judges the ratio of the medians. */
function percentiles(name: string, ours: readonly number[], bare: readonly number[], most?: number): Benchmark[] {
  return SHARES.map(([label, share]) => benchmark({
    name: `${name}, ${label}`, unit: 'ms', value: percentile(ours, share), runs: ours.length, ...(bare.length === 0 ? {} : { limit: percentile(bare, share) }),
    ...(label === 'p50' && most !== undefined && bare.length > 0 ? { most, of: 'ratio' as const } : {}),
  }))
}

/** One microVM at a time. */
export async function oneByOne(subject: Subject, runs: number): Promise<Benchmark[]> {
  const warm = await inTurns(subject, { count: 1, from: 'pool', rounds: runs })
  const cold = await inTurns(subject, { count: 1, from: 'nothing', rounds: Math.max(3, Math.ceil(runs / 2)) })
  const of = (rounds: readonly Turn[], figure: keyof Timings) => rounds.flatMap((round) => round.runs.map((run) => run[figure]))
  return [
    ...percentiles('restore → the VMM runs it, process waiting', of(warm.ours, 'vmmMs'), of(warm.bare, 'vmmMs')),
    ...percentiles('restore → agent ready, process waiting', of(warm.ours, 'readyMs'), of(warm.bare, 'readyMs')),
    ...percentiles('restore → first command answered, process waiting', of(warm.ours, 'firstMs'), of(warm.bare, 'firstMs'), 1.2),
    ...percentiles('restore → agent ready, empty pool', of(cold.ours, 'readyMs'), of(cold.bare, 'readyMs')),
    ...percentiles('restore → first command answered, empty pool', of(cold.ours, 'firstMs'), of(cold.bare, 'firstMs'), 1.2),
    ...percentiles('kill and clean-up of one', warm.ours.flatMap(({ endMs }) => endMs), warm.bare.flatMap(({ endMs }) => endMs)),
  ]
}

/** `count` at once. */
export async function allAtOnce(subject: Subject, count: number, rounds: number): Promise<Benchmark[]> {
  const warm = await inTurns(subject, { count, from: 'pool', rounds })
  const cold = await inTurns(subject, { count, from: 'nothing', rounds: Math.max(1, rounds - 1) })
  const line = (name: string, pick: (round: Turn) => number, { ours, bare }: { ours: Turn[]; bare: Turn[] }, unit: Benchmark['unit'], most?: number) => benchmark({
    name, unit, value: median(ours.map(pick)), runs: ours.length, ...(bare.length === 0 ? {} : { limit: median(bare.map(pick)) }), ...(most !== undefined && bare.length > 0 ? { most, of: 'ratio' as const } : {}),
  })
  return [
    line(`${count} at once to the last answer, processes waiting`, ({ totalMs }) => totalMs, warm, 'ms', 1.25),
    line(`${count} at once to the last answer, empty pool`, ({ totalMs }) => totalMs, cold, 'ms', 1.25),
    ...percentiles(`first command answered, ${count} at once`, warm.ours.flatMap((round) => round.runs.map(({ firstMs }) => firstMs)), warm.bare.flatMap((round) => round.runs.map(({ firstMs }) => firstMs))),
    line(`memory of each of ${count} (PSS)`, ({ pssBytes }) => median(pssBytes) / MiB, warm, 'MiB'),
    line(`kill and clean-up of ${count}`, ({ allEndMs }) => allEndMs, warm, 'ms'),
  ]
}
