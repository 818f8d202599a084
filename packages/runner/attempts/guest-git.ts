import { GIT_HOST } from '@swarm/contract/guest-protocol.ts'
import type { Vm } from '../drivers/driver.ts'
import { WorkFailure } from './work-failure.ts'

/** History brought into the microVM; the server has all of it. */
const FETCH_DEPTH = 50

/*
 * The scripts are constants; everything that varies is a positional argument. One exec each, and as few processes as can be:
 * under emulation each start of git costs 0.1 s and more. So the configuration is one write instead of five `git config`,
 * nothing starts `git maintenance`, and no sample hooks are copied.
 */
const FETCH = `set -e
git init -q -b work --template= "$1"; cd "$1"
printf '[gc]\\n\\tauto = 0\\n[maintenance]\\n\\tauto = false\\n[core]\\n\\thooksPath = /dev/null\\n[advice]\\n\\tdetachedHead = false\\n[user]\\n\\tname = %s\\n\\temail = agent@swarm.internal\\n[remote "origin"]\\n\\turl = %s\\n\\tfetch = +refs/heads/*:refs/remotes/origin/*\\n' "$4" "$2" >> .git/config
git fetch -q --depth="$5" origin "$3:refs/swarm/start"
git checkout -q -B work refs/swarm/start`

/** One commit of all that the attempt did, on top of its start, whatever the agent committed in between; the start itself when that is nothing. */
const PUBLISH = `set -e
cd "$1"
git add -A
tree=$(git write-tree)
start=$(git rev-parse refs/swarm/start 'refs/swarm/start^{tree}')
case "$start" in
  *"$tree") commit=\${start%%[!0-9a-f]*} ;;
  *) commit=$(git commit-tree -p refs/swarm/start -m "$3" -m "$4" "$tree") ;;
esac
git push -q --force origin "$commit:$2"
printf '%s\\n' "$commit"`

/** A value of a git configuration file, whatever characters it holds (git-config(1), "Syntax"). */
export function configValue(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`
}

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
  await run(vm, 'workspace', FETCH, [vm.workspace, configValue(repositoryUrl(input.projectSlug, input.repositorySlug)), input.ref, configValue(input.author), String(FETCH_DEPTH)], input.signal)
}

/** Commits all that is in the work tree and pushes it to the attempt's own ref. Returns the commit; the start itself when nothing changed. */
export async function pushWork(vm: Vm, input: { attemptId: string; ticketId: string; title: string }): Promise<string> {
  const trailers = `Swarm-Ticket: ${input.ticketId}\nSwarm-Attempt: ${input.attemptId}`
  const output = await run(vm, 'publish', PUBLISH, [vm.workspace, `refs/swarm/attempts/${input.attemptId}/work`, input.title, trailers])
  const sha = output.trim().split('\n').at(-1) ?? ''
  if (!/^[0-9a-f]{40}$/.test(sha)) throw new WorkFailure('infrastructure', 'publish_failed', `git rev-parse said ${JSON.stringify(output.slice(-200))}`)
  return sha
}
