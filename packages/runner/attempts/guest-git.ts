import { GIT_HOST } from '@swarm/contract/guest-protocol.ts'
import type { Vm } from '../drivers/driver.ts'
import { WorkFailure } from './work-failure.ts'

/** History brought into the microVM; the server has all of it. */
const FETCH_DEPTH = 50

/*
 * The scripts are constants; everything that varies is a positional argument. One exec each, since starting a process
 * costs tens of milliseconds under emulation.
 */
const FETCH = `set -e
git init -q -b work "$1"; cd "$1"
git config gc.auto 0; git config core.hooksPath /dev/null; git config advice.detachedHead false
git config user.name "$4"; git config user.email agent@swarm.internal
git remote add origin "$2"
git fetch -q --depth="$5" origin "$3:refs/swarm/start"
git checkout -q -B work refs/swarm/start`

/** One commit of all that the attempt did, on top of its start, whatever the agent committed in between. */
const PUBLISH = `set -e
cd "$1"
git add -A
git reset -q --soft refs/swarm/start
git diff --cached --quiet || git commit -q --no-verify -m "$3" -m "$4"
git push -q --force origin "HEAD:$2"
git rev-parse HEAD`

export function repositoryUrl(projectSlug: string, repositorySlug: string): string {
  return `http://${GIT_HOST}/${projectSlug}/${repositorySlug}`
}

async function run(vm: Vm, what: string, script: string, args: string[], signal?: AbortSignal): Promise<string> {
  const result = await vm.exec({ argv: ['/bin/sh', '-c', script, 'sh', ...args], cwd: '/', timeoutMs: 300_000, ...(signal ? { signal } : {}) })
  if (result.code !== 0) throw new WorkFailure('infrastructure', `${what}_failed`, `git in the microVM ended with ${result.code ?? result.signal}: ${result.stderr.slice(-2_000)}`)
  return result.stdout
}

/** Checks out `ref` of the repository in the microVM's workspace. */
export async function fetchWorkspace(vm: Vm, input: { projectSlug: string; repositorySlug: string; ref: string; author: string; signal: AbortSignal }): Promise<void> {
  await run(vm, 'workspace', FETCH, [vm.workspace, repositoryUrl(input.projectSlug, input.repositorySlug), input.ref, input.author, String(FETCH_DEPTH)], input.signal)
}

/** Commits all that is in the work tree and pushes it to the attempt's own ref. Returns the commit; the start itself when nothing changed. */
export async function pushWork(vm: Vm, input: { attemptId: string; ticketId: string; title: string }): Promise<string> {
  const trailers = `Swarm-Ticket: ${input.ticketId}\nSwarm-Attempt: ${input.attemptId}`
  const output = await run(vm, 'publish', PUBLISH, [vm.workspace, `refs/swarm/attempts/${input.attemptId}/work`, input.title, trailers])
  const sha = output.trim().split('\n').at(-1) ?? ''
  if (!/^[0-9a-f]{40}$/.test(sha)) throw new WorkFailure('infrastructure', 'publish_failed', `git rev-parse said ${JSON.stringify(output.slice(-200))}`)
  return sha
}
