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
  internal: { status: 500, fault: 'ours', message: 'Swarm failed at this request (correlation id {correlationId}).', remedy: 'Look in the server log for that id; "swarm logs" prints it.' },
  // tickets and attempts
  illegal_transition: { status: 409, fault: 'user', message: '{kind} {id} is {from}; it cannot become {to}.', remedy: 'Look at its current state first.' },
  stale_fence: { status: 409, fault: 'ours', message: 'Fence {fence} of attempt {attemptId} is no longer the current one.', remedy: 'Stop work on this attempt: somebody else holds the ticket now.' },
  runner_superseded: { status: 409, fault: 'user', message: 'A newer process of the runner {name} has taken its place.', remedy: 'Let this process end; if two hosts are meant to work, register a runner of another name for one of them.' },
already_decided: { status: 409, fault: 'user', message: '{kind} {id} was already decided by {by}: {decision}.', remedy: 'Nothing is left to decide; look at it with "swarm {kind} show {id}".' },
  question_moot: { status: 409, fault: 'user', message: 'Nobody waits for an answer to question {id} any more: its attempt is {state}.', remedy: 'Look at the ticket; what is open now is in "swarm ticket show".' },
  payload_changed: { status: 409, fault: 'user', message: 'Approval {id} is about something else than what you were shown.', remedy: 'Look at it again, then decide on what it shows now.' },
  not_for_yes: { status: 403, fault: 'user', message: '{id} ({kind}) is not one that --yes decides: it is of a kind that needs a person, or a merge with warnings, without checks or with a check that failed.', remedy: 'Look at it with "swarm approval show {id}" and decide it yourself: "swarm approval approve {id}".' },
  name_taken: { status: 409, fault: 'user', message: 'There is already a {kind} named {name}.', remedy: 'Choose another name, or change the existing one.' },
  version_conflict: { status: 409, fault: 'user', message: '{kind} {id} is at version {current}, not {given}: somebody changed it meanwhile.', remedy: 'Read it again and make your change on the newest version.' },
  unknown_agent: { status: 422, fault: 'user', message: 'There is no agent named {name}.', remedy: 'Register it with "swarm agent create", or name one that "swarm agent list" shows.' },
    dependency_cycle: { status: 422, fault: 'user', message: 'The dependencies form a cycle: {cycle}.', remedy: 'Remove one of these dependencies.' },
  // server state
  database_newer: { status: 500, fault: 'user', message: 'The database was written by a newer Swarm (migration {found}; this one knows {known}).', remedy: 'Use the newer Swarm, or restore a backup made before the upgrade.' },
  backup_unsupported: { status: 500, fault: 'user', message: 'The database is a PostgreSQL, which Swarm does not back up itself.', remedy: 'Stop the platform ("swarm stop"), back the database up with pg_dump, copy the folder {home} (repositories, blobs, keys), and start again; docs/operations.md has the commands.' },
  backup_folder_missing: { status: 404, fault: 'user', message: 'There is no folder {folder} to put a backup into.', remedy: 'Make it (or mount its disk), or name a file that ends in .tar.gz in a folder that exists.' },
  backup_exists: { status: 409, fault: 'user', message: '{file} exists already.', remedy: 'Name another file, or a folder.' },
  backup_invalid: { status: 422, fault: 'user', message: '{file} is not a whole backup: {problem}.', remedy: 'Take another backup; nothing was changed.' },
  nothing_to_back_up: { status: 404, fault: 'user', message: 'There is no database in {home}.', remedy: 'Name the folder of the installation with SWARM_HOME.' },
  home_not_empty: { status: 409, fault: 'user', message: 'The home folder {home} is not empty: {found}.', remedy: 'Name an empty one with SWARM_HOME, or say --force: what is there is then moved aside into a folder of its own.' },
  interrupted: { status: 500, fault: 'user', message: 'Interrupted.', remedy: 'Run the same command again.' },
  database_older: { status: 500, fault: 'user', message: 'The database is of an older Swarm (migration {found}; this one knows {known}).', remedy: 'Start this Swarm once, which brings it up to date, then check again.' },
  database_missing: { status: 500, fault: 'user', message: 'There is no database at {path}.', remedy: 'Set SWARM_HOME to the folder of an installation, or DATABASE_URL to its database.' },
  config_invalid: { status: 500, fault: 'user', message: 'The setting {field} is not valid: {problem}', remedy: 'Mend it where it was set ({source}); "swarm config show" lists every setting.' },
  // server: requests, live events, start
  unsupported_media_type: { status: 415, fault: 'user', message: 'A body of type {contentType} cannot be read here.', remedy: 'Send JSON with "content-type: application/json".' },
  cursor_expired: { status: 410, fault: 'user', message: 'The cursor is from before the event log was moved to another database.', remedy: 'Load the current state again and follow from a new cursor.' },
  response_invalid: { status: 500, fault: 'ours', message: 'Swarm made an answer that its own contract refuses (correlation id {correlationId}).', remedy: 'Look in the server log for that id; "swarm logs" prints it.' },
  port_in_use: { status: 500, fault: 'user', message: 'Port {port} of {host} is in use.', remedy: 'Stop the program that listens there ("swarm status" tells whether it is Swarm), or choose another port with SWARM_PORT.' },
  blob_not_found: { status: 404, fault: 'ours', message: 'There is no blob {digest}.', remedy: 'It was removed by retention, or the folder blobs under SWARM_HOME is incomplete: restore it from a backup.' },
  server_unreachable: { status: 503, fault: 'user', message: 'No Swarm server answers at {url}: {problem}', remedy: 'Start one with "swarm up", or check the address.' },
  route_not_found: { status: 404, fault: 'user', message: 'There is no {method} {path}.', remedy: 'Look at /reference for the routes that exist.' },
  database_unavailable: { status: 503, fault: 'ours', message: 'The database does not answer: {problem}', remedy: 'Check that the database runs and that its disk is not full; Swarm reconnects by itself.' },
  // git
  git_failed: { status: 500, fault: 'ours', message: 'git {command} ended with code {exitCode}: {stderr}', remedy: 'Look at what git said; "git fsck" in that repository tells whether it is damaged.' },
  git_missing: { status: 500, fault: 'user', message: 'git could not be started in {path}: it is not installed, or that folder does not exist.', remedy: 'Install git (2.38 or newer) and check the path.' },
  git_output_too_large: { status: 422, fault: 'user', message: 'git {command} answered with more than {limitBytes} bytes.', remedy: 'Split the change into smaller ones.' },
  invalid_revision: { status: 400, fault: 'user', message: '{revision} is not a revision.', remedy: 'Give a branch, a tag or a commit, such as main or HEAD~1.' },
  unknown_revision: { status: 404, fault: 'user', message: 'This repository has no revision {revision}.', remedy: 'Look at what exists with "git log --all --oneline".' },
  not_a_repository: { status: 422, fault: 'user', message: '{path} is not a git repository that may be read here.', remedy: 'Give the path of a git repository that you own ("git init" makes one).' },
  // specs and plans
  spec_empty: { status: 422, fault: 'user', message: 'The spec is empty.', remedy: 'Write Markdown with a title ("# Name") and a section "## Requirements" with one list item for each, such as "- R1 A game starts with 2 to 8 players".' },
  spec_too_large: { status: 413, fault: 'user', message: 'The spec has {bytes} bytes; at most {limitBytes} are read.', remedy: 'Split it into several specs, or link to attachments instead of pasting them.' },
  spec_not_text: { status: 422, fault: 'user', message: 'The spec is not text: there is a NUL character in line {line}.', remedy: 'Give a Markdown file in UTF-8.' },
  spec_unclosed_block: { status: 422, fault: 'user', message: 'The {what} that opens in line {line} of the spec is never closed, so everything after it would be lost.', remedy: 'Close it: a fence by a line of the same ``` or ~~~, a comment by -->.' },
  spec_without_requirements: { status: 422, fault: 'user', message: 'The spec has no requirements (read to line {line}).', remedy: 'Add a section "## Requirements" with one list item for each, such as "- R1 A game starts with 2 to 8 players".' },
  spec_duplicate_requirement: { status: 422, fault: 'user', message: 'Line {line} of the spec uses the id {id} again, which line {firstLine} has already.', remedy: 'Give one of them another id, or merge the two.' },
  spec_too_many_requirements: { status: 422, fault: 'user', message: 'The spec has {count} requirements; at most {limit} are planned in one session.', remedy: 'Split it into several specs, and run them one after the other.' },
  spec_empty_requirement: { status: 422, fault: 'user', message: 'Line {line} of the spec has no text for {id}.', remedy: 'Write behind it what must hold, such as "- R1 A game starts with 2 to 8 players", or remove the line.' },
  token_cap_too_small: { status: 422, fault: 'user', message: 'A token cap of {cap} is too small: {what} needs {needed} tokens in one request.', remedy: 'Set a token cap of at least {needed}, or make that part of the spec shorter.' },
  plan_invalid: { status: 422, fault: 'user', message: 'The plan is still not valid after {rounds} repair rounds: {findings}', remedy: 'Make the spec clearer in these places, or try again with "retry" on the design session.' },
  design_answer_malformed: { status: 502, fault: 'ours', message: 'The model answered step {step} twice with something that is not usable: {problem}', remedy: 'Try again with "retry" on the design session: finished steps are not paid again.' },
  build_incomplete: { status: 409, fault: 'user', message: 'The build is over, but {failed} of {total} tickets failed and {cancelled} were cancelled.', remedy: 'Take the failed tickets up again with "swarm ticket retry", then the design session with "retry".' },
  repository_without_commits: { status: 422, fault: 'user', message: 'Repository {repository} has no commit on {branch}.', remedy: 'Make a first commit there ("git commit --allow-empty -m start") and import it again.' },
  // images and microVMs
  tools_missing: { status: 500, fault: 'user', message: '{purpose} needs programs that are not installed.', remedy: 'Install them: apt-get install {packages}' },
  root_needed: { status: 500, fault: 'user', message: '{purpose} needs root.', remedy: 'Run it as root, or with sudo.' },
  image_unsupported: { status: 500, fault: 'user', message: 'The guest image cannot be built here: {problem}.', remedy: 'Build it on Debian 12 or newer or Ubuntu 22.04 or newer, on x86_64, with Node 24.' },
  image_build_failed: { status: 500, fault: 'ours', message: 'The guest image could not be built: {step} failed: {output}', remedy: 'Mend what it says and run it again; what was finished is kept. "swarm image logs" shows the whole log, which is in {log}.' },
  disk_full: { status: 500, fault: 'user', message: '{purpose} needs {neededBytes} bytes in {path}, and {freeBytes} are free.', remedy: 'Free space there, or set SWARM_CACHE to a folder on a larger disk.' },
  driver_unavailable: { status: 500, fault: 'user', message: 'The microVM driver {driver} cannot be used here: {problem}', remedy: '"swarm doctor" says what this machine offers and what to install.' },
  vm_start_failed: { status: 500, fault: 'ours', message: 'A microVM could not be started: {problem}', remedy: 'Try again; if it stays so, "swarm doctor" and the log of the runner say more.' },
  vm_ended: { status: 409, fault: 'ours', message: 'microVM {id} is over ({reason}): {detail}', remedy: 'Work goes on in a new microVM.' },
  vm_refused: { status: 500, fault: 'ours', message: 'microVM {id} refused a request: {problem}', remedy: 'Try again in a new microVM.' },
  vm_limit_unenforceable: { status: 500, fault: 'user', message: 'This host cannot enforce the limit {limit}: {problem}', remedy: 'Give the runner a writable cgroup, or leave that limit out.' },
  // model gateway
  model_not_configured: { status: 503, fault: 'user', message: 'No model is configured: there is no key of the model API, and no rehearsal script.', remedy: 'Set ANTHROPIC_API_KEY, or give a script with --rehearsal FILE ("swarm rehearsal init SPEC" writes one to start from).' },
  model_unpriced: { status: 400, fault: 'user', message: 'There is no price for the model {model}, so no budget can hold it.', remedy: 'Use one that has a price: {known}.' },
  model_option_unpriced: { status: 400, fault: 'user', message: 'The request uses {option}, which may cost more than its tokens show.', remedy: 'Leave {option} out: the model gateway takes only what it has a price for.' },
  model_request_invalid: { status: 400, fault: 'user', message: 'This is no request of the Messages API: {problem}', remedy: 'Correct {field}; the format is that of POST /v1/messages.' },
  attempt_over: { status: 409, fault: 'ours', message: 'Attempt {attemptId} is over; it makes no more model calls.', remedy: 'Stop work on this attempt.' },
  budget_exhausted: { status: 402, fault: 'user', message: 'The call needs up to {needed} {unit}, and the ceiling of {kind} {id} ({cap}) has {left} left.', remedy: 'Decide on approval {approvalId} (approve: raise and resume; reject: keep paused), or set another ceiling with "swarm budget set".' },
  model_unavailable: { status: 502, fault: 'ours', message: 'The model provider {provider} could not be reached or stayed silent ({problem}), {tries} times.', remedy: 'Look whether its address can be reached from this machine; the ticket is tried again later.' },
  model_overloaded: { status: 529, fault: 'ours', message: 'The model API {provider} is overloaded or out of reach for {model} ({problem}).', remedy: 'Nothing: the ticket waits, and is tried again when the API is asked next; "swarm status" shows it.' },
  model_refused: { status: 502, fault: 'ours', message: 'The model provider {provider} refused the call with status {status}: {problem}', remedy: 'Look at what it said; a wrong key or an unknown model is set in the configuration.' },
  model_budget_busy: { status: 503, fault: 'ours', message: 'Other model calls held the whole ceiling for {waitedMs} ms.', remedy: 'Nothing: the ticket is tried again when they have ended.' },
  // repositories, checks, changes and the merge queue
  origin_missing: { status: 422, fault: 'user', message: 'There is nothing at {path}.', remedy: 'Give the absolute path of a git repository on the machine of the server, or its address.' },
  origin_unreachable: { status: 502, fault: 'user', message: 'The repository {origin} could not be read: {problem}', remedy: 'Check the address, the network, and that this machine may read it ("git ls-remote" on the same address).' },
  origin_with_credentials: { status: 422, fault: 'user', message: 'The address of the repository at {host} holds credentials.', remedy: 'Leave user and password out of the address; let git find them by ssh key, or import a local clone.' },
  origin_shallow: { status: 422, fault: 'user', message: 'The repository {path} is a shallow clone.', remedy: 'Complete it with "git fetch --unshallow" and import it again.' },
  branch_missing: { status: 422, fault: 'user', message: 'Repository {repository} has no branch {branch} to import.', remedy: 'Name a branch that exists there ("git branch --list").' },
  repository_diverged: { status: 409, fault: 'user', message: 'Branch {branch} has commits here ({ours}) and at the origin ({theirs}) that the other side lacks; nothing was changed.', remedy: 'Merge the two at the origin (pull from Swarm, push), then import again.' },
  repository_exists: { status: 409, fault: 'user', message: 'The project has a repository {slug} already.', remedy: 'Choose another slug, or import into the one that exists.' },
  no_origin: { status: 409, fault: 'user', message: 'Repository {repository} was made by Swarm and has no origin to push to.', remedy: 'Clone it from Swarm instead.' },
  push_refused: { status: 409, fault: 'user', message: 'The origin {origin} did not take branch {branch}: {problem}.', remedy: 'Commit or stash what is open there, take its new commits into Swarm by importing again, and push again.' },
  push_forbidden: { status: 403, fault: 'user', message: 'The ref {ref} may not be written or deleted by this token.', remedy: 'Push to a ref under {prefix}/.' },
  push_too_large: { status: 413, fault: 'user', message: 'The push is larger than {limitBytes} bytes.', remedy: 'Leave large or generated files out of the commit.' },
  swarm_yml_invalid: { status: 422, fault: 'user', message: 'swarm.yml, line {line}: {problem}', remedy: 'Correct that line; docs/git.md shows the whole format.' },
  change_not_open: { status: 409, fault: 'user', message: 'Change {changeId} is not what was approved: it is {state} at {headSha}.', remedy: 'Look at the change as it is now and decide about that.' },
  queue_not_paused: { status: 409, fault: 'user', message: 'The merge queue of repository {repository} is not paused.', remedy: 'Nothing to do: it runs.' },
  // evidence and replays
  evidence_invalid: { status: 422, fault: 'user', message: 'The evidence is not valid: {problem}.', remedy: 'It was altered, damaged, or is no bundle of Swarm: export it again ("swarm change evidence"), and find out who had it in hands.' },
  evidence_key_unknown: { status: 422, fault: 'user', message: 'The evidence is signed by key {keyId}, which is not one that is trusted here.', remedy: 'Get the public key from whoever runs that Swarm, over a way that you trust, and give it with --key.' },
  evidence_key_invalid: { status: 422, fault: 'user', message: 'The key in {source} cannot be used: {problem}.', remedy: 'Give the Ed25519 public key in PEM, as "swarm evidence keys" prints it.' },
  evidence_blob_missing: { status: 422, fault: 'user', message: '{count} of the contents that the evidence names are not there ({digest}, …).', remedy: 'Export it with --with-blobs where they are kept. What retention removed is gone: --allow-missing-blobs checks the rest.' },
  evidence_pending: { status: 409, fault: 'user', message: 'There is no evidence of change {changeId} yet: it is {state}.', remedy: 'Evidence is sealed once a change is merged and its model calls are settled; ask again then.' },
  recording_missing: { status: 404, fault: 'user', message: 'Attempt {attemptId} cannot be replayed: {problem}.', remedy: 'Replay another attempt of the ticket ("swarm ticket show" lists them).' },
  // egress of microVMs
  egress_host_not_allowed: { status: 403, fault: 'user', message: 'The host {host} is not on the allow-list of this project.', remedy: 'If the work needs it, ask a person to add it under egress.allow in swarm.yml or in the settings of the project.' },
  egress_port_refused: { status: 403, fault: 'user', message: 'Port {port} of {host} may not be reached.', remedy: 'Use port {allowed}.' },
  egress_address_refused: { status: 403, fault: 'user', message: '{host} leads to {address}, which is a {class} address.', remedy: 'Only public addresses may be reached. An operator can exempt this exact host and range in the settings of the runner (never a metadata address).' },
  egress_ip_literal: { status: 403, fault: 'user', message: '{host} is an IP address, not a name.', remedy: 'Use the name of the host: addresses are refused in every notation.' },
  egress_host_invalid: { status: 403, fault: 'user', message: '{host} is not a host name.', remedy: 'Use a plain ASCII host name (punycode for others), without user, password or trailing dot.' },
  egress_host_mismatch: { status: 403, fault: 'user', message: 'The Host header names {header}, the request goes to {host}.', remedy: 'Send the host of the request as its Host header.' },
  egress_request_refused: { status: 403, fault: 'user', message: 'The proxy does not pass this request on: {problem}.', remedy: 'Send plain HTTP/1.1 through the proxy: http:// addresses as they are, https:// by CONNECT.' },
  egress_route_unknown: { status: 403, fault: 'user', message: '{method} {path} does not exist at {host}.', remedy: '{routes}' },
  egress_bytes_exhausted: { status: 403, fault: 'user', message: 'This microVM used up its {limitBytes} bytes of network traffic.', remedy: 'Download less, or ask a person to raise the limit of the agent.' },
  egress_too_many_connections: { status: 403, fault: 'user', message: 'This microVM has {limit} connections open.', remedy: 'Close some, or do fewer things at once.' },
  egress_unresolved: { status: 502, fault: 'user', message: 'The name {host} could not be resolved: {problem}.', remedy: 'Look at the spelling; otherwise the name servers of the runner do not know it.' },
  egress_unreachable: { status: 502, fault: 'user', message: '{host} could not be reached: {problem}.', remedy: 'Try again later.' },
} as const satisfies Record<string, ErrorCodeEntry>

export type ErrorCode = keyof typeof ERROR_CODES
