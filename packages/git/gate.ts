import type { GateResult } from '@swarm/core/output/change.ts'
import { gateView } from '@swarm/core/output/gate.ts'
import { danglingUses, lostNamesOf } from '@swarm/core/output/references.ts'
import { viewChange, type GateOptions } from '@swarm/core/output/view.ts'
import { findMentions, mergeBase, readChange } from './diff.ts'
import type { GitOptions } from './run.ts'
import { syntaxFindings } from './syntax.ts'

/** More lost names than this are not looked up: a change of that size is judged by its shape. */
const MAX_LOST_NAMES = 4_000

/** What a caller of the gate chooses. `scope.protect` and `scope.generated` of swarm.yml are read from the base and given here. */
export interface RunGateOptions extends Omit<GateOptions, 'dangling'> {
  readonly signal?: AbortSignal
  /** Compare with `base` itself and not with the commit where `head` left it. Default false. */
  readonly exactBase?: boolean
}

/**
 * The output gate on what `head` adds to `base` in the repository at `repoPath`: reads the change, asks the head which of
 * the removed names are still in use, checks the syntax of what was touched, and applies the rules.
 *
 * Both may be any revision; `base` may be the empty tree. Errors: `invalid_revision`, `unknown_revision`,
 * `not_a_repository`, `git_failed`, `git_output_too_large`.
 */
export async function runGate(repoPath: string, base: string, head: string, options: RunGateOptions = {}): Promise<GateResult> {
  const gitOptions: GitOptions = options.signal ? { signal: options.signal } : {}
  const from = options.exactBase ? base : await mergeBase(repoPath, base, head, gitOptions)
  const change = await readChange(repoPath, from, head, gitOptions)
  const whole = viewChange(change, options)
  const lost = lostNamesOf(whole)
  const words = [...new Set(lost.map((name) => name.word))].slice(0, MAX_LOST_NAMES)
  const mentions = await findMentions(repoPath, head, words, gitOptions)
  const dangling = danglingUses(lost, mentions, whole)
  return gateView({ ...whole, options: { ...options, dangling } }, syntaxFindings(change))
}
