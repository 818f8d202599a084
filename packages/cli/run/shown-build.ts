import { BuildPayload, type DesignSessionDetail } from '@swarm/contract/endpoints/design.ts'
import { duration, money } from '../io.ts'

type Range = BuildPayload['tokens']

/** The payload of a build confirmation in lines; none when it is of an older shape. */
export function buildLines(payload: unknown): string[] | null {
  const parsed = BuildPayload.safeParse(payload)
  if (!parsed.success) return null
  const build = parsed.data
  const { change, vms, criticalPath, basis, calibration } = build
  return [
    `The build of "${build.title}" (version ${build.specVersion}): ${build.tickets} tickets in ${build.waves} waves, ${build.storyPoints} story points; model: ${build.modelLabel}; ceiling: ${build.maxCostMicroUsd === null ? 'none' : money(build.maxCostMicroUsd)}`,
    ...(change === null ? [] : [
      `  a change since version ${change.sinceVersion}: ${change.kept.length} tickets kept (${change.started.length} of them started), ${change.added.length} planned anew, ${change.dropped.length} dropped`,
      ...change.added.map((key) => `    + ${key}`), ...change.dropped.map((key) => `    − ${key} (cancelled; if it is started by then it goes on, and what replaces it waits for it)`),
    ]),
    `  critical path ${criticalPath.storyPoints} story points: ${criticalPath.tickets.join(' → ')}`,
    `  microVMs      at least ${vms.least}, up to ${vms.atOnce} at once (the order allows ${vms.width}, the project ${build.concurrency})`,
    `  time          ${range(build.elapsedMs, duration)}, without waiting for people`,
    `  tokens        ${range(build.tokens, (value) => `${Math.round(value / 1_000)}k`)}`,
    `  money         ${range(build.microUsd, money)}`,
    `  taken from    ${SOURCES[basis.source](basis.count)}`,
    `  so far        ${calibration.builds === 0 ? 'no build has been held against its estimate yet' : `${calibration.builds} builds took ${factors(calibration)} of what was expected`}`,
  ]
}

const SOURCES: Readonly<Record<BuildPayload['basis']['source'], (count: number) => string>> = {
  project: (count) => `${count} finished tickets of this project`,
  installation: (count) => `${count} finished tickets of this installation (too few of this project yet)`,
  prior: () => 'priors that nobody has measured: too few tickets are finished yet',
}

/** `10 … 30, likely 20`: of ten builds one is below and one above. */
function range({ low, middle, high }: Range, shown: (value: number) => string): string {
  return `${shown(low)} … ${shown(high)}, likely ${shown(middle)}`
}

function factors({ tokens, microUsd, elapsedMs }: { tokens: number | null; microUsd: number | null; elapsedMs: number | null }): string {
  return [['tokens', tokens], ['money', microUsd], ['time', elapsedMs]].flatMap(([name, value]) => (value === null ? [] : [`${String(value)} × the ${String(name)}`])).join(', ') || 'nothing measurable'
}

/** How estimates of a session's builds came out. */
export function estimateLines({ estimates }: DesignSessionDetail): string[] {
  return estimates.map(({ specVersion, estimate, comparison }) => `estimate of version ${specVersion}: ${range(estimate.microUsd, money)}, ${range(estimate.elapsedMs, duration)}${comparison === null ? '' : `; it took ${factors(comparison)}`}`)
}
