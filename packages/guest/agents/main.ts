import { text } from 'node:stream/consumers'
import { AgentEvent, AgentTask, type AgentOutcome } from '@swarm/contract/agent-protocol.ts'
import { AttemptEnded, failed, type AgentEventInput, type AgentTemplate, type Emit } from './template.ts'

/*
 * The agent program of the microVM: one AgentTask on stdin, AgentEvent lines on stdout, an outcome as the last line, exit
 * code 0 whatever the outcome. Exit code 2 without an outcome means that stdin held no task. Templates are imported when
 * they are used: the SDK of `claude` is not even evaluated for a `shell` ticket.
 */

function write(event: AgentEventInput): Promise<void> {
  return new Promise((resolve, reject) => process.stdout.write(`${JSON.stringify(AgentEvent.parse(event))}\n`, (error) => (error ? reject(error) : resolve())))
}

const emit: Emit = (event) => {
  // A closed stdout means that nobody reads any more: the runner has ended us, or is about to.
  write(event).catch((error: unknown) => process.stderr.write(`event lost: ${String(error)}\n`))
}

async function runTemplate(task: AgentTask, signal: AbortSignal): Promise<AgentOutcome> {
  const { config } = task
  const run = <Name extends typeof config.template>(template: AgentTemplate<Name>): Promise<AgentOutcome> =>
    template.run(task as Parameters<AgentTemplate<Name>['run']>[0], emit, signal)
  switch (config.template) {
    case 'shell': return run((await import('./shell/shell.ts')).shell)
    case 'http': return run((await import('./http/http.ts')).http)
    case 'claude': return run((await import('./claude/claude.ts')).claude)
  }
}

async function runTask(task: AgentTask): Promise<AgentOutcome> {
  const end = new AbortController()
  const timer = setTimeout(() => end.abort(new AttemptEnded('agent', 'time_limit', `The attempt used up its ${task.limits.minutes} minutes.`)), task.limits.minutes * 60_000)
  const cancel = (): void => end.abort(new AttemptEnded('infrastructure', 'cancelled', 'The runner ended the attempt.'))
  process.once('SIGTERM', cancel)
  try {
    const outcome = await runTemplate(task, end.signal)
    return end.signal.reason instanceof AttemptEnded ? end.signal.reason.outcome : outcome
  } catch (error) {
    if (end.signal.reason instanceof AttemptEnded) return end.signal.reason.outcome
    if (error instanceof AttemptEnded) return error.outcome
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
    return failed('infrastructure', 'template_error', error instanceof Error ? error.message : String(error))
  } finally {
    clearTimeout(timer)
    process.removeListener('SIGTERM', cancel)
  }
}

function parseTask(input: string): AgentTask {
  try {
    return AgentTask.parse(JSON.parse(input))
  } catch (error) {
    process.stderr.write(`stdin holds no agent task: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exit(2)
  }
}

await write(await runTask(parseTask(await text(process.stdin))))
// A template may leave idle sockets of fetch open; the outcome is written, nothing else matters.
process.exit(0)
