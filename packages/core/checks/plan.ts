import type { PlannedFile } from './image.ts'

/** Limits of the microVM that runs the checks, and of attempts that state no tighter ones. Units as in swarm.yml. */
export interface PlanLimits { readonly cpu: number; readonly memoryMb: number; readonly diskMb: number; readonly minutes: number; readonly egressBytes: number; readonly pids: number }

export interface PlannedCheck { readonly name: string; readonly command: string }

/** What runs against a commit, and in what: settled by the base commit, never by the change. */
export interface CheckPlan {
  /** Command that prepares the workspace (`checks.setup`), or null. */
  readonly setup: string | null
  readonly checks: readonly PlannedCheck[]
  readonly image: { readonly packages: readonly string[]; readonly npm: readonly string[]; readonly files?: readonly PlannedFile[] }
  /** Globs of the files that the setup command reads, where swarm.yml says so. */
  readonly setupInputs?: readonly string[]
  /** Exact hosts, `*.suffix` and presets such as `preset:npm`. */
  readonly egressAllow: readonly string[]
  readonly limits: PlanLimits
}

/** Everything a repository says about itself in swarm.yml, defaults filled in. */
export interface RepositoryPlan extends CheckPlan {
  /** gitignore globs: what no change may touch without a finding, and what no person reads. */
  readonly scope: { readonly protect: readonly string[]; readonly generated: readonly string[] }
  /** Ceiling of one attempt in dollars, or null. */
  readonly usd: number | null
  /** `swarm.yml`: stated there · `detected`: found in the base commit · `detected in the change`: the base holds nothing to run · `none`. */
  readonly source: 'swarm.yml' | 'detected' | 'detected in the change' | 'none'
}

/** Defaults of the `limits` of swarm.yml; egress of 1 GiB covers an install of a large dependency tree. */
export const DEFAULT_LIMITS: PlanLimits = { cpu: 1, memoryMb: 1024, diskMb: 2048, minutes: 30, egressBytes: 1_073_741_824, pids: 512 }

/** The same plan in one spelling, whatever the order in which it was put together: its SHA-256 is the plan's digest. */
export function canonicalPlan(plan: CheckPlan): string {
  // What a plan does not use is not spelled: plans of repositories that never heard of it keep their digests.
  const files = (plan.image.files ?? []).map(({ path, mode, blob }) => ({ path, mode, blob })).toSorted((a, b) => (a.path < b.path ? -1 : 1))
  return JSON.stringify({
    setup: plan.setup,
    checks: plan.checks.map(({ name, command }) => ({ name, command })),
    image: { packages: plan.image.packages.toSorted(), npm: plan.image.npm.toSorted(), ...(files.length === 0 ? {} : { files }) },
    ...(plan.setupInputs === undefined ? {} : { setupInputs: plan.setupInputs }),
    egressAllow: plan.egressAllow.toSorted(),
    limits: Object.fromEntries(Object.entries(plan.limits).toSorted(([a], [b]) => (a < b ? -1 : 1))),
  })
}

/**
 * Whether these results are a pass of this plan: every check of it ran, ended by itself with 0, and so did everything else
 * that was reported (the setup). The runner's own verdict is not consulted.
 */
export function planPassed(plan: CheckPlan, results: readonly { readonly name: string; readonly exitCode: number | null; readonly timedOut: boolean }[]): boolean {
  const good = (result: { readonly exitCode: number | null; readonly timedOut: boolean }) => result.exitCode === 0 && !result.timedOut
  return results.every(good) && plan.checks.every((check) => results.some((result) => result.name === check.name))
}
