import { wavesOf, type GraphNode } from './graph.ts'

/*
 * What a build will take, computed from its plan and from what earlier tickets took. Everything is per story point: a range of
 * a plan is its story points times the range of what one point took. So more tickets never cost less, and the range is as
 * wide as tickets differ, as if those of one plan were all dear or all cheap together: too wide rather than too narrow.
 */

/** Of ten cases, one is below `low` and one above `high`; half are below `middle`. */
export interface Range { readonly low: number; readonly middle: number; readonly high: number }

export const MEASURES = ['tokens', 'microUsd', 'workMs'] as const
export type Measure = (typeof MEASURES)[number]

/** What a finished ticket took, over all of its attempts. */
export interface TicketRecord {
  readonly storyPoints: number
  /** Input and output of model calls. */
  readonly tokens: number
  readonly microUsd: number
  /** From claim to passed checks, without waiting for answers, ms. */
  readonly workMs: number
}

export type Source = 'project' | 'installation' | 'prior'
export interface Basis { readonly source: Source; /** Finished tickets that it is taken from. */ readonly count: number; readonly perPoint: Readonly<Record<Measure, Range>> }

/** Fewer finished tickets than this tell nothing about the next one. */
export const LEAST_HISTORY = 5

/**
 * What one story point takes where nothing was measured yet. Not measured: set wide on purpose, so that the first builds are not
 * taken for known; one point is meant as a small change with its test.
 */
export const PRIOR: Readonly<Record<Measure, Range>> = {
  tokens: { low: 30_000, middle: 120_000, high: 500_000 },
  microUsd: { low: 60_000, middle: 300_000, high: 1_500_000 },
  workMs: { low: 60_000, middle: 240_000, high: 1_200_000 },
}

/** The history to go by: this project's, else the installation's, else stated priors. */
export function basisOf(project: readonly TicketRecord[], installation: readonly TicketRecord[]): Basis {
  if (project.length >= LEAST_HISTORY) return { source: 'project', count: project.length, perPoint: perPointOf(project) }
  if (installation.length >= LEAST_HISTORY) return { source: 'installation', count: installation.length, perPoint: perPointOf(installation) }
  return { source: 'prior', count: 0, perPoint: PRIOR }
}

function perPointOf(records: readonly TicketRecord[]): Record<Measure, Range> {
  const of = (measure: Measure): Range => rangeOf(records.map((record) => record[measure] / Math.max(1, record.storyPoints)))
  return { tokens: of('tokens'), microUsd: of('microUsd'), workMs: of('workMs') }
}

/** Tenth, fiftieth and ninetieth percentile, interpolated; of nothing, zero. */
export function rangeOf(values: readonly number[]): Range {
  const sorted = [...values].sort((one, two) => one - two)
  const at = (part: number): number => {
    const place = part * (sorted.length - 1)
    const below = sorted[Math.floor(place)] ?? 0
    return below + ((sorted[Math.ceil(place)] ?? below) - below) * (place - Math.floor(place))
  }
  return { low: at(0.1), middle: at(0.5), high: at(0.9) }
}

export interface PlannedWork extends GraphNode { readonly storyPoints: number }

export interface Estimate {
  readonly tickets: number
  readonly waves: number
  readonly storyPoints: number
  /** The longest chain of tickets that wait for each other, by story points. */
  readonly criticalPath: { readonly tickets: readonly string[]; readonly storyPoints: number; readonly workMs: Range }
  /** `least`: microVMs at the very least; `atOnce`: most at the same time; `width`: most tickets that could run at once if nothing but order held them. */
  readonly vms: { readonly least: number; readonly atOnce: number; readonly width: number }
  readonly tokens: Range
  readonly microUsd: Range
  /** Of all tickets together. */
  readonly workMs: Range
  /** From the start of the build to its end, without waiting for people or for the merge queue. */
  readonly elapsedMs: Range
  readonly basis: Basis
}

/** MicroVMs that a ticket takes: its attempt, its checks, the checks of the merged tree. */
const VMS_PER_TICKET = 3

/**
 * The numbers of a build. Elapsed time is between the two bounds of list scheduling on `concurrency` places: never below the
 * critical path nor the whole divided by the places, never above the critical path plus the rest divided by the places.
 * @param work an acyclic plan @param concurrency tickets of the project that may be worked on at once
 */
export function estimateBuild(work: readonly PlannedWork[], basis: Basis, concurrency: number): Estimate {
  const storyPoints = work.reduce((sum, ticket) => sum + ticket.storyPoints, 0)
  const waves = wavesOf(work)
  const path = criticalPath(work, waves)
  const width = widthOf(work, waves)
  const places = Math.max(1, concurrency)
  const whole = (points: number, range: Range): Range => ({ low: Math.round(points * range.low), middle: Math.round(points * range.middle), high: Math.round(points * range.high) })
  const atLeast = Math.max(path.storyPoints, storyPoints / places)
  const atMost = path.storyPoints + (storyPoints - path.storyPoints) / places
  const { tokens, microUsd, workMs } = basis.perPoint
  return {
    tickets: work.length, waves: waves.length, storyPoints, basis,
    criticalPath: { ...path, workMs: whole(path.storyPoints, workMs) },
    vms: { least: work.length * VMS_PER_TICKET, atOnce: Math.min(concurrency, width), width },
    tokens: whole(storyPoints, tokens), microUsd: whole(storyPoints, microUsd), workMs: whole(storyPoints, workMs),
    elapsedMs: { low: Math.round(atLeast * workMs.low), middle: Math.round((atLeast + atMost) / 2 * workMs.middle), high: Math.round(atMost * workMs.high) },
  }
}

function criticalPath(work: readonly PlannedWork[], waves: readonly (readonly string[])[]): { tickets: string[]; storyPoints: number } {
  const byKey = new Map(work.map((ticket) => [ticket.key, ticket]))
  const longest = new Map<string, { points: number; before: string | null }>()
  let end: string | null = null
  for (const key of waves.flat()) {
    const ticket = byKey.get(key)
    if (!ticket) continue
    let best: { points: number; before: string | null } = { points: 0, before: null }
    for (const parent of ticket.dependsOn) {
      const points = longest.get(parent)?.points ?? 0
      if (points > best.points) best = { points, before: parent }
    }
    longest.set(key, { points: best.points + ticket.storyPoints, before: best.before })
    if (end === null || best.points + ticket.storyPoints > (longest.get(end)?.points ?? 0)) end = key
  }
  const tickets: string[] = []
  for (let key = end; key !== null; key = longest.get(key)?.before ?? null) tickets.unshift(key)
  return { tickets, storyPoints: end === null ? 0 : longest.get(end)?.points ?? 0 }
}

/** Most tickets none of which waits for another (Dilworth: tickets less the largest matching of who is before whom). */
function widthOf(work: readonly PlannedWork[], waves: readonly (readonly string[])[]): number {
  const order = waves.flat()
  const place = new Map(order.map((key, index) => [key, index]))
  const parents = new Map(work.map(({ key, dependsOn }) => [key, dependsOn]))
  const before = order.map(() => new Set<number>())
  for (const [index, key] of order.entries()) {
    for (const parent of parents.get(key) ?? []) {
      const at = place.get(parent)
      if (at === undefined || at === index) continue
      before[index]?.add(at)
      for (const further of before[at] ?? []) before[index]?.add(further)
    }
  }
  const matched = new Map<number, number>()
  const augment = (from: number, seen: Set<number>): boolean => {
    for (const to of before[from] ?? []) {
      if (seen.has(to)) continue
      seen.add(to)
      const holder = matched.get(to)
      if (holder === undefined || augment(holder, seen)) {
        matched.set(to, from)
        return true
      }
    }
    return false
  }
  let pairs = 0
  for (const index of order.keys()) if (augment(index, new Set())) pairs++
  return order.length - pairs
}

/** What a finished build took of what was expected, per measure: 1 is as expected, 2 twice as much. */
export interface Comparison { readonly tokens: number | null; readonly microUsd: number | null; readonly elapsedMs: number | null }

export function compared(estimated: Pick<Estimate, 'tokens' | 'microUsd' | 'elapsedMs'>, actual: { tokens: number; microUsd: number; elapsedMs: number }): Comparison {
  const factor = (range: Range, came: number): number | null => (range.middle > 0 ? Math.round(came / range.middle * 100) / 100 : null)
  return { tokens: factor(estimated.tokens, actual.tokens), microUsd: factor(estimated.microUsd, actual.microUsd), elapsedMs: factor(estimated.elapsedMs, actual.elapsedMs) }
}

/** The middle one of past comparisons, and how many there are: how far estimates have been off so far. */
export function calibrationOf(past: readonly Comparison[]): Comparison & { readonly builds: number } {
  const middle = (values: readonly (number | null)[]): number | null => {
    const known = values.filter((value) => value !== null)
    return known.length === 0 ? null : Math.round(rangeOf(known).middle * 100) / 100
  }
  return { builds: past.length, tokens: middle(past.map(({ tokens }) => tokens)), microUsd: middle(past.map(({ microUsd }) => microUsd)), elapsedMs: middle(past.map(({ elapsedMs }) => elapsedMs)) }
}
