import { crashAt, makeTemplate, type Victim } from './world.ts'

export interface WalkedStep { readonly victim: Victim; readonly at: number; readonly label: string; readonly problems: readonly string[] }
export interface Walk {
  readonly victim: Victim
  /** Boundaries of a run without a kill. */
  readonly boundaries: number
  /** Numbers at which it was killed. */
  readonly walked: readonly number[]
  readonly failures: readonly WalkedStep[]
}

/**
 * Kills the victim at boundary 1, 2, 3 … of the same piece of work until a run comes to its end without reaching the number;
 * each time what was killed is started again, and the ticket must be merged once, with every invariant intact.
 * @param every walks each k-th boundary only, from `from` on; `always` names those that are walked besides
 */
export async function crashWalk(options: { victim: Victim; every?: number; from?: number; always?: RegExp; onStep?: (step: WalkedStep) => void }): Promise<Walk> {
  const { victim, every = 1, from = 1, always } = options
  using template = await makeTemplate()
  const whole = await crashAt(template, victim, 0)
  const [walked, failures]: [number[], WalkedStep[]] = [[], []]
  if (whole.problems.length > 0) failures.push({ victim, at: 0, label: 'no kill', problems: whole.problems })
  for (let at = from; ; at++) {
    const expected = whole.boundaries[at - 1]
    if ((at - from) % every !== 0 && !(expected !== undefined && always?.test(expected))) continue
    const run = await crashAt(template, victim, at)
    const step = { victim, at, label: run.boundaries.at(-1)?.replace(/^\d+ /, '') ?? 'unknown', problems: run.problems }
    if (run.killed) {
      walked.push(at)
      options.onStep?.(step)
    }
    if (run.problems.length > 0) failures.push(step)
    if (!run.killed) return { victim, boundaries: whole.boundaries.length, walked, failures }
  }
}
