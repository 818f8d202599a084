import { AgentEvent } from '@swarm/contract/agent-protocol.ts'
import type { AgentOutcome } from '@swarm/contract/agent-protocol.ts'
import { MODEL_HOST } from '@swarm/contract/guest-protocol.ts'
import { complete, fail, release } from '@swarm/contract/runner-protocol.ts'
import type { AttemptWork } from '@swarm/contract/runner-protocol.ts'
import { parseJson } from '@swarm/core/json.ts'
import type { Vm } from '../drivers/driver.ts'
import { fetchWorkspace, pushWork, startRef } from './guest-git.ts'
import { bounded } from './bounded.ts'
import { startCheckpoints } from './checkpoints.ts'
import { lines } from './lines.ts'
import { provision } from './machine.ts'
import type { Provisioned, WorkDependencies } from './machine.ts'
import type { Reporter } from './reporter.ts'
import { SETUP_TIMEOUT_MS } from './setup-layer.ts'
import { asFailure, WorkFailure } from './work-failure.ts'

/** An agent's output is read as it comes; of what is no event, the end is enough to explain a crash. */
const KEPT_BYTES = 64 * 1024
/** Events of one attempt, in characters of their JSON, that are recorded; a flood beyond is counted, and its outcome heard. */
const RECORDED_CHARACTERS = 16 * 1024 * 1024
/** Lines that look like events and are none; an agent program writes none at all. */
const MOST_STRAYS = 10_000
const OUTCOME = /"type":\s*"(?:finished|question|failed)"/

/** What saving the work of an agent that failed or was stopped may take, with its repetitions; its last checkpoint stands beyond. */
const SAVE_MS = 120_000

/**
 * Carries out one attempt: microVM → workspace → agent → pushed work → report. Work in progress is pushed while the agent
 * works, and once more before the microVM goes, however the attempt ends.
 */
export async function runAttempt(work: AttemptWork, deps: WorkDependencies): Promise<void> {
  const { link, reporter, stop, lost, permit } = deps
  const key = { kind: 'attempt' as const, id: work.attemptId, fence: work.fence }
  const ticket = work.task.ticket
  const toPush = { attemptId: work.attemptId, ticketId: work.ticketId, title: ticket.title }
  let provisioned: Provisioned | null = null
  try {
    provisioned = await reporter.during('provision', () => provision(deps, work))
    const { vm: machine, proxy, layer } = provisioned
    await reporter.during('workspace', async () => {
      await fetchWorkspace(machine, { ...work, ref: startRef(work), author: work.agentName, signal: stop })
      if (work.setup !== null && layer === null) await runSetup(machine, work.setup, stop)
    })
    const outcome = await reporter.during('agent', async () => {
      // One that a person has stand still is not to blame for it.
      reporter.watchAgent(() => proxy.stats().openModelCalls > 0 || machine.paused)
      // Ended before the work is pushed for good, so that no checkpoint lands on top of that.
      await using _checkpoints = startCheckpoints(machine, toPush, {
        everyMs: work.checkpointMs, signal: lost, onCheckpoint: (sha) => { reporter.checkpoint(sha) }, onTrouble: (error) => { deps.onTrouble(error, 'a checkpoint was not taken') },
      })
      return await runAgent(machine, work, reporter, stop)
    }, (value) => value.type)
    if (outcome.type === 'failed') throw new WorkFailure(outcome.failureClass, outcome.reason, outcome.message)
    const headSha = await reporter.during('publish', () => pushWork(machine, toPush, stop), (sha) => sha)
    await reporter.flush()
    if (outcome.type === 'question') {
      const { question, options, toolUseId, transcript } = outcome
      await link.call(release, { body: { ...key, reason: 'question', wipSha: headSha, question: { text: question, options, toolUseId, transcript } } }, lost, permit)
    } else {
      await link.call(complete, { body: { ...key, kind: 'attempt', headSha, summary: outcome.summary.slice(0, 20_000) } }, lost, permit)
    }
  } catch (error) {
    if (lost.aborted) return
    const machine = provisioned?.vm
    const wipSha = machine ? await saveOrNull(async () => {
      if (machine.paused) await machine.resume()
      return pushWork(machine, toPush, AbortSignal.any([lost, AbortSignal.timeout(SAVE_MS)]))
    }, reporter) : null
    if (lost.aborted) return
    await reporter.flush()
    const failure = stop.aborted ? (stop.reason instanceof WorkFailure ? stop.reason : null) : asFailure(error)
    if (failure === null) await link.call(release, { body: { ...key, reason: 'shutdown', wipSha } }, lost, permit)
    else await link.call(fail, { body: { ...key, failureClass: failure.failureClass, reason: failure.reason, message: failure.message.slice(-20_000), wipSha } }, lost, permit)
  } finally {
    await provisioned?.vm[Symbol.asyncDispose]()
    await provisioned?.ended
    await reporter.flush()
  }
}

/** The work as a commit on the attempt's ref, or null when the microVM can no longer give it. */
async function saveOrNull(save: () => Promise<string>, reporter: Reporter): Promise<string | null> {
  try {
    return await reporter.during('publish', save, (sha) => sha)
  } catch (error) {
    // Reported as a failed step by `during`; the attempt's own failure is what the server must hear next.
    if (!(error instanceof Error)) throw error
    return null
  }
}

async function runSetup(vm: Vm, command: string, signal: AbortSignal): Promise<void> {
  const result = await vm.exec({ argv: ['/bin/sh', '-c', command], cwd: vm.workspace, timeoutMs: SETUP_TIMEOUT_MS, signal })
  if (result.code !== 0) throw new WorkFailure('infrastructure', 'setup_failed', `The setup command ended with ${result.code ?? result.signal}:\n${(result.stdout + result.stderr).slice(-8_000)}`)
}

async function runAgent(vm: Vm, work: AttemptWork, reporter: Reporter, signal: AbortSignal): Promise<AgentOutcome> {
  let outcome: AgentOutcome | null = null
  let unreadable = ''
  let recorded = 0
  let strays = 0
  const read = lines((line) => {
    // A guest may write what it likes, and a look into a line costs: beyond all measure only the outcome is looked for.
    const worthIt = line.startsWith('{') && strays < MOST_STRAYS && (recorded <= RECORDED_CHARACTERS || OUTCOME.test(line))
    const parsed = worthIt ? AgentEvent.safeParse(parseJson(line)) : null
    if (!parsed?.success) {
      unreadable ||= line.slice(0, 500)
      if (parsed !== null) strays += 1
      return
    }
    const event = parsed.data
    if (event.type === 'finished' || event.type === 'question' || event.type === 'failed') outcome = event
    else if (recorded > RECORDED_CHARACTERS) return
    else if ((recorded += line.length) > RECORDED_CHARACTERS) {
      reporter.activity({ type: 'text', text: `[The agent has written more than ${RECORDED_CHARACTERS} characters of events; from here on they are not recorded.]` })
      return
    }
    // The transcript goes with /release alone: it can be megabytes.
    reporter.activity(bounded(event.type === 'question' ? { ...event, transcript: [] } : event))
  })
  const task = { ...work.task, workspace: vm.workspace, modelBaseUrl: `http://${MODEL_HOST}` }
  const exit = await vm.exec({
    argv: ['node', vm.agentProgram], cwd: vm.workspace, stdin: JSON.stringify(task), timeoutMs: Math.round(work.limits.minutes * 60_000),
    correlationId: work.correlationId, onStdout: read.push, maxOutputBytes: work.limits.outputBytes, keptBytes: KEPT_BYTES, signal,
  })
  read.end()
  if (outcome) return outcome
  if (exit.timedOut) return { type: 'failed', failureClass: 'agent', reason: 'time_limit', message: `The agent ran longer than its limit of ${work.limits.minutes} minutes.` }
  return {
    type: 'failed', failureClass: 'agent', reason: 'agent_crashed',
    message: `The agent program ended with ${exit.code ?? exit.signal} and no outcome. ${unreadable ? `It wrote: ${unreadable}. ` : ''}${exit.stderr.slice(-4_000)}`,
  }
}
