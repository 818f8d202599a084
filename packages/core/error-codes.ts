interface ErrorCodeEntry {
  /** HTTP status that the one mapper answers with. */
  readonly status: number
  readonly fault: 'user' | 'ours'
  /** What happened; `{name}` is filled from the error's details. */
  readonly message: string
  /** What to do about it. */
  readonly remedy: string
}

/** Every error code of Swarm. docs/errors.md has one entry per code, made from this table. */
export const ERROR_CODES = {
  // requests
  unauthenticated: { status: 401, fault: 'user', message: 'No valid credentials were given.', remedy: 'Send "Authorization: Bearer <token>"; the first admin token is in the file admin-token under SWARM_HOME.' },
  forbidden: { status: 403, fault: 'user', message: 'These credentials may not do this.', remedy: 'Use a token whose kind is {needed}.' },
  not_found: { status: 404, fault: 'user', message: 'There is no {kind} {id}.', remedy: 'List what exists with "swarm {kind} list".' },
  invalid_input: { status: 400, fault: 'user', message: 'The input is not valid: {problem}', remedy: 'Correct {field} and send it again.' },
  body_too_large: { status: 413, fault: 'user', message: 'The request body is larger than {limitBytes} bytes.', remedy: 'Send less at once.' },
  rate_limited: { status: 429, fault: 'user', message: 'Too many requests.', remedy: 'Wait {retryAfterSeconds} s and try again.' },
  idempotency_conflict: { status: 409, fault: 'user', message: 'This idempotency key was used with another request.', remedy: 'Use a new key for a new request.' },
  internal: { status: 500, fault: 'ours', message: 'Swarm failed at this request (correlation id {correlationId}).', remedy: 'Look in the server log for that id; "swarm logs" prints it.' },
  // tickets and attempts
  illegal_transition: { status: 409, fault: 'user', message: '{kind} {id} is {from}; it cannot become {to}.', remedy: 'Look at its current state first.' },
  stale_fence: { status: 409, fault: 'ours', message: 'Fence {fence} of attempt {attemptId} is no longer the current one.', remedy: 'Stop work on this attempt: somebody else holds the ticket now.' },
  dependency_cycle: { status: 422, fault: 'user', message: 'The dependencies form a cycle: {cycle}.', remedy: 'Remove one of these dependencies.' },
  // server state
  database_newer: { status: 500, fault: 'user', message: 'The database was written by a newer Swarm (migration {found}; this one knows {known}).', remedy: 'Use the newer Swarm, or restore a backup made before the upgrade.' },
  config_invalid: { status: 500, fault: 'user', message: 'The setting {field} is not valid: {problem}', remedy: 'Mend it where it was set ({source}); "swarm config show" lists every setting.' },
  // git
  git_failed: { status: 500, fault: 'ours', message: 'git {command} ended with code {exitCode}: {stderr}', remedy: 'Look at what git said; "git fsck" in that repository tells whether it is damaged.' },
  git_missing: { status: 500, fault: 'user', message: 'git could not be started in {path}: it is not installed, or that folder does not exist.', remedy: 'Install git (2.38 or newer) and check the path.' },
  git_output_too_large: { status: 422, fault: 'user', message: 'git {command} answered with more than {limitBytes} bytes.', remedy: 'Split the change into smaller ones.' },
  invalid_revision: { status: 400, fault: 'user', message: '{revision} is not a revision.', remedy: 'Give a branch, a tag or a commit, such as main or HEAD~1.' },
  unknown_revision: { status: 404, fault: 'user', message: 'This repository has no revision {revision}.', remedy: 'Look at what exists with "git log --all --oneline".' },
  not_a_repository: { status: 422, fault: 'user', message: '{path} is not a git repository that may be read here.', remedy: 'Give the path of a git repository that you own ("git init" makes one).' },
} as const satisfies Record<string, ErrorCodeEntry>

export type ErrorCode = keyof typeof ERROR_CODES
