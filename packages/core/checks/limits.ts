import type { PlanLimits } from './plan.ts'

/** Limits of one microVM and of the work in it. */
export interface WorkLimits extends PlanLimits {
  /** Of one command of the work (the agent's program, a check), stdout and stderr together. */
  readonly outputBytes: number
}
type Stated = { readonly [Name in keyof WorkLimits]?: WorkLimits[Name] | undefined }

/** The tightest of what agent, repository, project and host state, each limit for itself; the default where nobody states it. */
export function tightestLimits(defaults: WorkLimits, ...stated: readonly Stated[]): WorkLimits {
  const of = (name: keyof WorkLimits): number => {
    const values = stated.flatMap((each) => each[name] ?? [])
    return values.length === 0 ? defaults[name] : Math.min(...values)
  }
  return {
    cpu: of('cpu'), memoryMb: of('memoryMb'), diskMb: of('diskMb'), minutes: of('minutes'), egressBytes: of('egressBytes'), pids: of('pids'), outputBytes: of('outputBytes'),
  }
}
