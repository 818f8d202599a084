import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AttemptEvidence } from '@swarm/contract/agent-protocol.ts'
import { Plan } from '@swarm/contract/endpoints/design.ts'
import { runGate } from '@swarm/git/gate.ts'
import { git, gitEnvironment } from '@swarm/git/run.ts'
import { agentHarness, buildTask } from '@swarm/guest/agents/harness.ts'
import { sqlitePlace } from '@swarm/server/db/testing.ts'
import { buildCandidate, describeConflict } from '@swarm/server/integrations/builtin-code-host/candidate.ts'
import { bareRepository, designStage, seedProject } from '../design/stage.ts'
import type { Script } from '../rehearsal/script.ts'
import { startRehearsal, type RehearsalStatus } from '../rehearsal/server.ts'
import { startRetryingProxy } from './retrying-proxy.ts'

/** Something that went wrong for a ticket and sent it back to work. */
export interface Incident {
  readonly ticket: string
  /** Attempt whose work was sent back. */
  readonly attempt: number
  readonly kind: 'gate' | 'check' | 'merge_conflict' | 'merged_tree_red'
  /** Codes of the gate's errors. */
  readonly codes: readonly string[]
  /** What the next attempt is told. */
  readonly text: string
}

export interface HostRehearsal extends AsyncDisposable {
  /** Bare repository with the final main. */
  readonly path: string
  readonly plan: Plan
  readonly incidents: readonly Incident[]
  /** Warnings of the gate that merged work carries. */
  readonly warnings: readonly { ticket: string; code: string; message: string }[]
  /** Questions of agents and what they were answered. */
  readonly answered: readonly { ticket: string; question: string; answer: string }[]
  /** Model calls that met a scripted overload. */
  readonly retried: number
  readonly status: RehearsalStatus
}

export interface HostRehearsalOptions {
  readonly spec: string
  readonly script: Script
  /** First commit of the repository. */
  readonly files: Readonly<Record<string, string>>
  /** The check that decides, run by sh in the work tree. */
  readonly check: string
  readonly answers?: readonly { match: string; answer: string }[]
  /** Order in which the tickets of a wave merge, of those that are ready together. */
  readonly order?: (keys: readonly string[]) => readonly string[]
}

const AUTHOR = { GIT_AUTHOR_NAME: 'Agent', GIT_AUTHOR_EMAIL: 'agent@swarm.internal', GIT_COMMITTER_NAME: 'Agent', GIT_COMMITTER_EMAIL: 'agent@swarm.internal' }
const MAX_ATTEMPTS = 5

interface Work { readonly ticket: Plan['tickets'][number]; attempt: number; base: string; start: string; head: string; evidence: AttemptEvidence[] }

/**
 * Plays a script without microVMs and without the engine, to find mistakes of the script itself in seconds: the real design agent
 * makes the plan, the real agent program works on each ticket in a clone, the real gate reads each result, the check runs on it, and the
 * real rebase builds what would be merged, wave by wave. All tickets of a wave start from the same main.
 */
export async function rehearseOnHost(options: HostRehearsalOptions): Promise<HostRehearsal> {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'swarm-host-rehearsal-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const rehearsal = stack.use(await startRehearsal({ script: options.script }))
  const proxy = stack.use(await startRetryingProxy(rehearsal.url))
  const harness = stack.use(await agentHarness())
  const path = bareRepository(folder, options.files)
  const plan = await designed(options.spec, path, `${proxy.url}/v1/messages`)
  const incidents: Incident[] = []
  const warnings: { ticket: string; code: string; message: string }[] = []
  const answered: { ticket: string; question: string; answer: string }[] = []
  const main = async (): Promise<string> => (await git(path, ['rev-parse', 'main'])).stdout.trim()
  let clones = 0

  const checkOut = async (sha: string): Promise<string> => {
    const clone = join(folder, `clone-${++clones}`)
    await git(folder, ['clone', '--quiet', '--no-checkout', path, clone])
    await git(clone, ['fetch', '--quiet', 'origin', '+refs/work/*:refs/work/*'])
    await git(clone, ['checkout', '--quiet', '--detach', sha])
    return clone
  }
  /** The check on a commit: null when it passes, else its output. */
  const failing = async (sha: string): Promise<string | null> => {
    const clone = await checkOut(sha)
    const ran = await sh(options.check, clone)
    rmSync(clone, { recursive: true, force: true })
    return ran.ok ? null : ran.output
  }
  const sentBack = (work: Work, incident: Omit<Incident, 'ticket' | 'attempt'>, evidence: Partial<AttemptEvidence> & Pick<AttemptEvidence, 'failureClass' | 'reason'>, next: { base: string; start: string }): void => {
    incidents.push({ ticket: work.ticket.key, attempt: work.attempt, ...incident })
    work.evidence.push({ attemptId: `ATT-${work.attempt}`, number: work.attempt, findings: [], checkOutput: '', conflict: '', ...evidence })
    Object.assign(work, next, { attempt: work.attempt + 1 })
    if (work.attempt > MAX_ATTEMPTS) throw new Error(`${work.ticket.key} was sent back ${MAX_ATTEMPTS} times: ${JSON.stringify(incidents.at(-1))}`)
  }

  /** One run of the agent, questions answered; the commit that it leaves. */
  const runAgent = async (work: Work): Promise<string> => {
    const workspace = await checkOut(work.start)
    const { ticket } = work
    const task = buildTask(workspace, { template: 'claude', model: 'rehearsal' }, {
      // The rehearsal reads the number of the attempt from the header that the agent makes of this.
      attemptId: String(work.attempt), modelBaseUrl: proxy.url, evidence: work.evidence, limits: { turns: 12 },
      ticket: { ...ticket, id: `TKT-${ticket.key}`, scope: [...ticket.scope], acceptance: [...ticket.acceptance], requirements: ticket.requirements.map((id) => ({ id, text: 'as in the spec' })), checks: [{ name: 'test', command: options.check }] },
    })
    let { outcome } = await harness.run(task)
    while (outcome.type === 'question') {
      const { question, transcript, toolUseId } = outcome
      const answer = options.answers?.find(({ match }) => question.includes(match))?.answer
      if (answer === undefined) throw new Error(`${ticket.key} asks "${question}", and there is no answer to it`)
      answered.push({ ticket: ticket.key, question, answer })
      ;({ outcome } = await harness.run({ ...task, resume: { transcript, toolUseId, answer } }))
    }
    if (outcome.type !== 'finished') throw new Error(`${ticket.key}, attempt ${work.attempt}: ${outcome.reason}: ${outcome.message}`)
    await git(workspace, ['add', '--all'])
    await git(workspace, ['commit', '--quiet', '--allow-empty', '--message', ticket.title], { env: AUTHOR })
    await git(workspace, ['push', '--quiet', 'origin', `HEAD:refs/work/${ticket.key}/${work.attempt}`])
    const { stdout } = await git(workspace, ['rev-parse', 'HEAD'])
    rmSync(workspace, { recursive: true, force: true })
    return stdout.trim()
  }

  /** Attempts until gate and check are content. */
  const work = async (work: Work): Promise<void> => {
    for (;;) {
      work.head = await runAgent(work)
      const gate = await runGate(path, work.base, work.head, { scope: work.ticket.scope })
      if (!gate.clean) {
        const codes = gate.findings.filter(({ severity }) => severity === 'error').map(({ code }) => code)
        const now = await main()
        sentBack(work, { kind: 'gate', codes, text: codes.join(', ') }, { failureClass: 'policy', reason: 'output_gate', findings: [...gate.findings] }, { base: now, start: now })
        continue
      }
      const output = await failing(work.head)
      if (output === null) {
        warnings.push(...gate.findings.map(({ code, message }) => ({ ticket: work.ticket.key, code, message })))
        return
      }
      sentBack(work, { kind: 'check', codes: [], text: output }, { failureClass: 'checks', reason: 'check_failed: test', checkOutput: output }, { base: work.base, start: work.head })
    }
  }

  const merge = async (item: Work): Promise<boolean> => {
    const onto = await main()
    const candidate = await buildCandidate(path, { onto, head: item.head, at: 0 })
    if (candidate.kind === 'unrelated') throw new Error(`${item.ticket.key} shares no history with main`)
    if (candidate.kind === 'conflict') {
      const conflict = describeConflict(candidate)
      sentBack(item, { kind: 'merge_conflict', codes: [], text: conflict }, { failureClass: 'conflict', reason: `conflict in ${candidate.files.map((file) => file.path).join(', ')}`, conflict }, { base: onto, start: onto })
      return false
    }
    await git(path, ['update-ref', `refs/work/${item.ticket.key}/candidate`, candidate.sha])
    const output = await failing(candidate.sha)
    if (output !== null) {
      sentBack(item, { kind: 'merged_tree_red', codes: [], text: output }, { failureClass: 'checks', reason: 'merged_tree_red: test', checkOutput: `On the merged tree:\n${output}` }, { base: onto, start: candidate.sha })
      return false
    }
    await git(path, ['update-ref', 'refs/heads/main', candidate.sha, onto])
    return true
  }

  for (const wave of plan.waves) {
    const base = await main()
    const items = wave.map((key): Work => {
      const ticket = plan.tickets.find((each) => each.key === key)
      if (!ticket) throw new Error(`the plan has no ticket ${key}`)
      return { ticket, attempt: 1, base, start: base, head: base, evidence: [] }
    })
    await Promise.all(items.map(work))
    const keys = options.order?.(wave) ?? wave
    const queue = keys.flatMap((key) => items.filter((item) => item.ticket.key === key))
    for (let item = queue.shift(); item; item = queue.shift()) {
      if (await merge(item)) continue
      await work(item)
      queue.push(item)
    }
  }
  const running = stack.move()
  return { path, plan, incidents, warnings, answered, retried: proxy.retried(), status: rehearsal.status(), [Symbol.asyncDispose]: () => running.disposeAsync() }
}

/** The plan that the design agent makes of a spec for a repository. */
async function designed(spec: string, repositoryPath: string, modelUrl: string): Promise<Plan> {
  await using place = await sqlitePlace()
  await using db = await place.open({ slowUnitMs: 2_000 })
  await seedProject(db)
  await using stage = designStage(db, repositoryPath, modelUrl)
  const { id } = await stage.design.create({ projectId: 'PRJ-1', repositoryId: 'REP-1', spec, clarify: 'off', by: 'admin admin', tokenCap: undefined, correlationId: 'corr-12345678' })
  await stage.design.idle()
  const session = await db.read.selectFrom('design_sessions').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
  if (session.plan === null) throw new Error(`the design session is ${session.state}: ${session.failure ?? ''}`)
  return Plan.parse(JSON.parse(session.plan))
}

function sh(command: string, cwd: string): Promise<{ ok: boolean; output: string }> {
  return new Promise((resolve) => {
    execFile('/bin/sh', ['-c', command], { cwd, env: { ...gitEnvironment(), PATH: `${join(process.execPath, '..')}:${process.env['PATH'] ?? ''}` }, timeout: 60_000, maxBuffer: 16_000_000 }, (error, stdout, stderr) => resolve({ ok: error === null, output: stdout + stderr }))
  })
}
