import { setTimeout as delay } from 'node:timers/promises'
import { GIT_HOST } from '@swarm/contract/guest-protocol.ts'
import type { Work } from '@swarm/contract/runner-protocol.ts'
import type { Vm } from '../drivers/driver.ts'
import { WorkFailure } from './work-failure.ts'

const COMMIT = /^[0-9a-f]{40}$/
/** History brought into the microVM; the server has all of it. */
const FETCH_DEPTH = 50

/*
 * The scripts are constants; everything that varies is a positional argument. One exec each, and as few processes as can be:
 * under emulation each start of git costs 0.1 s and more. So the configuration is one write instead of five `git config`,
 * nothing starts `git maintenance`, and no sample hooks are copied.
 */
const FETCH = `set -e
rm -rf "$1/.git"
git init -q -b work --template= "$1"; cd "$1"
printf '[gc]\\n\\tauto = 0\\n[maintenance]\\n\\tauto = false\\n[core]\\n\\thooksPath = /dev/null\\n[advice]\\n\\tdetachedHead = false\\n[user]\\n\\tname = %s\\n\\temail = agent@swarm.internal\\n[remote "origin"]\\n\\turl = %s\\n\\tfetch = +refs/heads/*:refs/remotes/origin/*\\n' "$4" "$2" >> .git/config
git fetch -q --depth="$5" origin "$3:refs/swarm/start"
git checkout -q -f -B work refs/swarm/start`

/**
 * One commit of all that the attempt did, on top of its start, whatever the agent committed in between; the start itself when that
 * is nothing. With an index of its own: the agent's may be locked by a git of its that was killed.
 */
const PUBLISH = `set -e
cd "$1"
GIT_INDEX_FILE=.git/swarm-publish; export GIT_INDEX_FILE
rm -f "$GIT_INDEX_FILE" "$GIT_INDEX_FILE.lock"
if [ -f .git/index ]; then cp .git/index "$GIT_INDEX_FILE"; fi
git add -A
tree=$(git write-tree)
start=$(git rev-parse refs/swarm/start 'refs/swarm/start^{tree}')
case "$start" in
  *"$tree") commit=\${start%%[!0-9a-f]*} ;;
  *) commit=$(git commit-tree -p refs/swarm/start -m "$3" -m "$4" "$tree") ;;
esac
git push -q --force origin "$commit:$2"
printf '%s\\n' "$commit"`

/**
 * The same in the middle of the work, beside an agent that goes on: with an index of its own, without touching HEAD, a branch
 * or the agent's index. Files that vanish or change while they are read are taken next time. Prints the tree, and the commit
 * when one was pushed: nothing is when the tree is the last one (\`$5\`, at first that of the start).
 */
const CHECKPOINT = `set -e
cd "$1"
GIT_INDEX_FILE=.git/swarm-checkpoint; export GIT_INDEX_FILE
rm -f "$GIT_INDEX_FILE.lock"
[ -f "$GIT_INDEX_FILE" ] || cp .git/index "$GIT_INDEX_FILE"
git add -A --ignore-errors || :
tree=$(git write-tree)
last=$5; [ -n "$last" ] || last=$(git rev-parse 'refs/swarm/start^{tree}')
if [ "$tree" = "$last" ]; then printf '%s\n' "$tree"; exit 0; fi
commit=$(git commit-tree -p refs/swarm/start -m "$3" -m "$4" "$tree")
git push -q --force origin "$commit:$2"
printf '%s %s\n' "$tree" "$commit"`

/**
 * Only the files that are named on stdin (each ended by NUL) of a ref, and nothing of git. Names are taken as they are, never as patterns.
 */
const FETCH_FILES = `set -e
rm -rf /tmp/files
export GIT_LITERAL_PATHSPECS=1
mkdir -p "$1" /tmp/files; cd /tmp/files
git init -q --template= .
git fetch -q --depth=1 "$2" "$3"
git --work-tree="$1" checkout -q --pathspec-from-file=- --pathspec-file-nul FETCH_HEAD
cd /; rm -rf /tmp/files`

/** A value of a git configuration file, whatever characters it holds (git-config(1), "Syntax"). */
export function configValue(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`
}

export function repositoryUrl(projectSlug: string, repositorySlug: string): string {
  return `http://${GIT_HOST}/${projectSlug}/${repositorySlug}`
}

/** Answers of the git endpoint, as git prints them, that the same push would get again. */
const TOO_LARGE = /returned error: 413|exceeds maximum allowed size|push_too_large/

async function run(vm: Vm, what: string, script: string, args: string[], options: { signal: AbortSignal; timeoutMs: number; stdin?: string }): Promise<string> {
  const result = await vm.exec({ argv: ['/bin/sh', '-c', script, 'sh', ...args], cwd: '/', ...options })
  if (result.code === 0) return result.stdout
  const said = result.stderr.slice(-2_000)
  if (TOO_LARGE.test(said)) {
    throw new WorkFailure('policy', 'push_too_large', `The work is larger than one push may be. Take large files that are not part of the change (builds, downloads, archives) out of the work tree, or list them in .gitignore. git said: ${said}`)
  }
  throw new WorkFailure('infrastructure', `${what}_failed`, `git in the microVM ended with ${result.code ?? result.signal}: ${said}`)
}

/** Tries of a fetch or push, and the first wait between them, ms, doubled: a server that restarts is back within seconds. */
const TRIES = 6
const FIRST_WAIT_MS = 500

/** Repeats a step whose repetition does no harm while it fails for the machine's or the network's sake. */
async function repeated<T>(step: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await step()
    } catch (error) {
      if (tried === TRIES || !(error instanceof WorkFailure) || error.failureClass !== 'infrastructure') throw error
    }
    await delay(FIRST_WAIT_MS * 2 ** (tried - 1), undefined, { signal })
  }
}

/** The ref that a piece of work starts from. */
export function startRef(work: Work): string {
  return work.kind === 'attempt' ? `refs/swarm/attempts/${work.attemptId}/start` : `refs/swarm/checks/${work.checkId}`
}

/** Puts only these files (names, each ended by NUL) of what the work starts from into the microVM's workspace. @throws WorkFailure */
export async function fetchFiles(vm: Vm, work: Work, names: string, signal: AbortSignal): Promise<void> {
  const args = [vm.workspace, repositoryUrl(work.projectSlug, work.repositorySlug), startRef(work)]
  await repeated(() => run(vm, 'workspace', FETCH_FILES, args, { signal, timeoutMs: 300_000, stdin: names }), signal)
}

/** Checks out `ref` of the repository in the microVM's workspace; a setup layer may have files there already. */
export async function fetchWorkspace(vm: Vm, input: { projectSlug: string; repositorySlug: string; ref: string; author: string; signal: AbortSignal }): Promise<void> {
  const args = [vm.workspace, configValue(repositoryUrl(input.projectSlug, input.repositorySlug)), input.ref, configValue(input.author), String(FETCH_DEPTH)]
  await repeated(() => run(vm, 'workspace', FETCH, args, { signal: input.signal, timeoutMs: 300_000 }), input.signal)
}

export interface WorkToPush { attemptId: string; ticketId: string; title: string }

const pushArguments = (vm: Vm, input: WorkToPush): string[] =>
  [vm.workspace, `refs/swarm/attempts/${input.attemptId}/work`, input.title, `Swarm-Ticket: ${input.ticketId}\nSwarm-Attempt: ${input.attemptId}`]

/**
 * Commits all that is in the work tree and pushes it to the attempt's own ref. Returns the commit; the start itself when nothing changed.
 * @throws WorkFailure `infrastructure publish_failed`, `policy push_too_large`
 */
export async function pushWork(vm: Vm, input: WorkToPush, signal: AbortSignal): Promise<string> {
  const output = await repeated(() => run(vm, 'publish', PUBLISH, pushArguments(vm, input), { signal, timeoutMs: 300_000 }), signal)
  const sha = output.trim().split('\n').at(-1) ?? ''
  if (!COMMIT.test(sha)) throw new WorkFailure('infrastructure', 'publish_failed', `git rev-parse said ${JSON.stringify(output.slice(-200))}`)
  return sha
}

/** Pushes the work so far. `lastTree` is what the last checkpoint returned; `commit` is null when nothing has changed since. */
export async function pushCheckpoint(vm: Vm, input: WorkToPush & { lastTree: string | null }, options: { signal: AbortSignal; timeoutMs: number }): Promise<{ tree: string; commit: string | null }> {
  const output = await run(vm, 'checkpoint', CHECKPOINT, [...pushArguments(vm, input), input.lastTree ?? ''], options)
  const [tree = '', commit] = (output.trim().split('\n').at(-1) ?? '').split(' ')
  if (![tree, commit ?? tree].every((sha) => COMMIT.test(sha))) throw new WorkFailure('infrastructure', 'checkpoint_failed', `git said ${JSON.stringify(output.slice(-200))}`)
  return { tree, commit: commit ?? null }
}
