import type { Finding, Severity } from './change.ts'
import type { ChangeView } from './view.ts'

/** One rule of the gate: what it has to say about a change. */
export type Rule = (whole: ChangeView) => Iterable<Finding>

/** Every code with its remedy. `{…}` in a message is filled by the rule itself; the remedy is the same for a code. */
export const GATE_CODES = {
  empty_diff: 'Make the change that the ticket asks for; an attempt without a change cannot be accepted.',
  out_of_scope: 'Undo the change to this file, or ask for a wider scope.',
  protected_file: 'Undo the change to this file; a change to it needs a person\'s approval.',
  ci_disabled: 'Put the pipeline back; make its steps pass instead.',
  file_gutted: 'Restore the file ("git checkout BASE -- FILE") and make exact edits to it instead of writing it anew.',
  file_emptied: 'Restore the file, or delete it if nothing needs it any more.',
  file_rewritten: 'Check that nothing was lost; prefer exact edits over a new version of the whole file.',
  large_deletion: 'Check that the removed part is not needed any more.',
  still_in_use: 'Put back what was taken away, or change every place that uses it in the same change.',
  essential_file_deleted: 'Restore this file: the repository needs it.',
  body_stubbed: 'Restore the body of this function and change only what has to change.',
  code_elided: 'Write the whole file: a comment does not stand for the code that was there.',
  comments_out_code: 'Delete code or leave it; do not comment it out.',
  test_file_deleted: 'Restore these tests and make them pass; if what they test is gone, remove both in one change.',
  tests_removed: 'Restore the removed tests and make them pass.',
  test_skipped: 'Take the skip mark away and make the test pass.',
  test_focused: 'Take ".only" away: it keeps every other test from running.',
  assertions_removed: 'Put the assertions back and make them pass.',
  assertion_weakened: 'Compare with the expected value again, as before.',
  assertion_trivial: 'Assert what the code does: this assertion cannot fail.',
  expectation_changed: 'Check that the new expectation is what the ticket asks for and not just what the code happens to do.',
  snapshot_changed: 'Check that the new snapshot is what the ticket asks for.',
  test_command_neutralised: 'Restore the test command; it has to fail when a test fails.',
  test_configuration_weakened: 'Restore this setting, so that every test runs and counts.',
  secret: 'Remove the secret, take it from the environment instead, and revoke it: it is in the history of this branch.',
  possible_secret: 'If this is a real secret, take it from the environment instead.',
  junk_file: 'Remove this file from the change and list it in .gitignore.',
  generated_file: 'Leave built files out unless the repository keeps them on purpose.',
  conflict_markers: 'Resolve the conflict and remove the markers.',
  binary_file: 'Leave binaries out, or ask for approval and keep them small.',
  file_too_large: 'Leave this file out, or make it smaller.',
  diff_too_large: 'Split the change into smaller ones.',
  syntax_error: 'Correct the syntax; the file could be read before.',
  submodule_changed: 'Undo the change of the submodule unless the ticket asks for it.',
  link_outside: 'Let links point inside the repository only.',
} as const satisfies Record<string, string>

export type GateCode = keyof typeof GATE_CODES

export function finding(code: GateCode, severity: Severity, path: string, line: number | null, message: string): Finding {
  return { code, severity, path, line, message, remedy: GATE_CODES[code] }
}
