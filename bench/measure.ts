/** One line of the result. Times in ms, rates per second, memory in MiB. */
export interface Benchmark {
  readonly name: string
  readonly unit: 'ms' | '/s' | '×' | 'MiB'
  /** The median of the runs. */
  readonly value: number
  /** The plain limit, measured beside it in the same run; null where there is none. */
  readonly limit: number | null
  /** `value` / `limit`. */
  readonly ratio: number | null
  /** In words, e.g. `≤ 10 ms`; null where the figure only informs. */
  readonly target: string | null
  readonly met: boolean | null
  readonly runs: number
}

/** What a suite needs: how much to do, and where progress goes. */
export interface Suite {
  readonly quick: boolean
  readonly note: (text: string) => void
}

export const round = (value: number): number => (Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3)))

/** The figure below which this share of the figures lies. */
export function percentile(figures: readonly number[], share: number): number {
  const sorted = figures.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}
export const median = (figures: readonly number[]): number => percentile(figures, 0.5)

export async function elapsedMs(work: () => PromiseLike<unknown> | void): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}

/** `most`: met when the value, or the ratio to the limit with `of: 'ratio'`, is not above it; `least`: not below. */
export function benchmark(input: {
  name: string; unit: Benchmark['unit']; value: number; limit?: number; runs: number
  most?: number; least?: number; of?: 'value' | 'ratio'
}): Benchmark {
  const ratio = input.limit === undefined ? null : input.value / input.limit
  const judged = input.of === 'ratio' ? ratio : input.value
  const bound = input.most ?? input.least
  const met = bound === undefined || judged === null ? null : input.most === undefined ? judged >= bound : judged <= bound
  const target = bound === undefined ? null : `${input.most === undefined ? '≥' : '≤'} ${bound} ${input.of === 'ratio' ? '× the limit' : input.unit}`
  return { name: input.name, unit: input.unit, value: round(input.value), limit: input.limit === undefined ? null : round(input.limit), ratio: ratio === null ? null : round(ratio), target, met, runs: input.runs }
}

/** For people: one line a benchmark, the missed ones marked. */
export function tableOf(benchmarks: readonly Benchmark[]): string {
  const rows = [['benchmark', 'value', 'limit', 'ratio', 'target', 'met', 'runs'], ...benchmarks.map((each) => [
    each.name, `${each.value} ${each.unit}`, each.limit === null ? '-' : `${each.limit} ${each.unit}`, each.ratio === null ? '-' : String(each.ratio), each.target ?? '-',
    each.met === null ? '-' : each.met ? 'yes' : 'MISSED', String(each.runs),
  ])]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd()).join('\n')
}
