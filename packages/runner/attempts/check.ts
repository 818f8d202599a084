import { complete, fail } from '@swarm/contract/runner-protocol.ts'
import type { CheckResult, CheckWork } from '@swarm/contract/runner-protocol.ts'
import type { Vm } from '../drivers/driver.ts'
import { fetchWorkspace } from './guest-git.ts'
import { provision } from './machine.ts'
import type { Provisioned, WorkDependencies } from './machine.ts'
import { asFailure } from './work-failure.ts'

const OUTPUT_KEPT_BYTES = 64 * 1024

/** Runs the setup and the checks of one commit in a clean microVM, in their order, until one fails. */
export async function runCheck(work: CheckWork, deps: WorkDependencies): Promise<void> {
  const { link, reporter, stop, lost, permit } = deps
  const key = { kind: 'check' as const, id: work.checkId, fence: work.fence }
  let provisioned: Provisioned | null = null
  try {
    provisioned = await reporter.during('provision', () => provision(deps, work))
    const machine = provisioned.vm
    await reporter.during('workspace', () => fetchWorkspace(machine, { ...work, ref: `refs/swarm/checks/${work.checkId}`, author: 'Swarm', signal: stop }))
    const results = await reporter.during('checks', () => runAll(machine, work, stop))
    await reporter.flush()
    await link.call(complete, { body: { ...key, kind: 'check', results, passed: results.every((result) => result.exitCode === 0) } }, lost, permit)
  } catch (error) {
    if (lost.aborted) return
    await reporter.flush()
    const failure = asFailure(error)
    await link.call(fail, { body: { ...key, failureClass: failure.failureClass, reason: stop.aborted ? 'stopped' : failure.reason, message: failure.message.slice(-20_000), wipSha: null } }, lost, permit)
  } finally {
    await provisioned?.vm[Symbol.asyncDispose]()
    await provisioned?.ended
    await reporter.flush()
  }
}

async function runAll(vm: Vm, work: CheckWork, signal: AbortSignal): Promise<CheckResult[]> {
  const results: CheckResult[] = []
  // A change can break the setup as well as a test: it is a result with its output, and no fault of the machine.
  const setup = work.setup === null ? [] : [{ name: 'setup', command: work.setup }]
  for (const check of [...setup, ...work.checks]) {
    let output = ''
    const decoder = new TextDecoder()
    const keep = (chunk: Uint8Array): void => { output = (output + decoder.decode(chunk, { stream: true })).slice(-OUTPUT_KEPT_BYTES) }
    // The command is the repository's own text, read from the base commit by the server.
    const exit = await vm.exec({
      argv: ['/bin/sh', '-c', check.command], cwd: vm.workspace, env: { CI: 'true' }, timeoutMs: Math.round(work.limits.minutes * 60_000),
      correlationId: work.correlationId, onStdout: keep, onStderr: keep, maxOutputBytes: work.limits.outputBytes, keptBytes: 0, signal,
    })
    results.push({ ...check, exitCode: exit.code, timedOut: exit.timedOut, wallMs: exit.wallMs, output })
    if (exit.code !== 0) break
  }
  return results
}
