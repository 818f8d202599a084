import type { ChangeSet, Finding, GateResult } from './change.ts'
import type { Rule } from './finding.ts'
import { deletedContent, elidedCode, stillInUse, stubbedBodies } from './rules/destruction.ts'
import { secrets } from './rules/secrets.ts'
import { binaries, conflictMarkers, emptyDiff, essentialFiles, junk, outOfScope, protectedFiles, sizes } from './rules/shape.ts'
import { testCommands } from './rules/test-commands.ts'
import { snapshots, weakenedTests } from './rules/tests.ts'
import { viewChange, type ChangeView, type GateOptions } from './view.ts'

/** The rules, in the order in which their findings are listed. */
const RULES: readonly Rule[] = [
  emptyDiff, outOfScope, protectedFiles, sizes, stillInUse, deletedContent, elidedCode, stubbedBodies, essentialFiles,
  weakenedTests, snapshots, testCommands, secrets, conflictMarkers, junk, binaries,
]

/** Judges a change by its diff alone. Pure: the same change and options give the same findings. */
export function gate(change: ChangeSet, options: GateOptions = {}): GateResult {
  return gateView(viewChange(change, options))
}

/** `gate` on a change that has been read already; `more` are findings of others (syntax) to be listed with ours. */
export function gateView(whole: ChangeView, more: readonly Finding[] = []): GateResult {
  return resultOf([...RULES.flatMap((rule) => [...rule(whole)]), ...more])
}

/** Errors first, each in the order found. */
export function resultOf(findings: readonly Finding[]): GateResult {
  const sorted = [...findings.filter((each) => each.severity === 'error'), ...findings.filter((each) => each.severity === 'warning')]
  return { clean: sorted.every((each) => each.severity !== 'error'), findings: sorted }
}
