import { type Plan } from '@swarm/contract/endpoints/design.ts'
import { DEFAULT_TOKEN_CAP } from '@swarm/core/design/chunks.ts'
import type { DesignContext } from '@swarm/core/design/requests.ts'
import { DESIGNING_STATES, sessionCan, type SessionState } from '@swarm/core/design/session.ts'
import { parseSpec } from '@swarm/core/design/spec.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { withCorrelationId } from '../../correlation.ts'
import type { Database } from '../../db/database.ts'
import { fromJson, json } from '../../db/json.ts'
import { afterCommit, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { ApprovalCommands, TicketCommands } from '../../ports.ts'
import { registerDecisions } from './decisions.ts'
import { assertFits, designPlan, type Designed } from './designer.ts'
import { deleteSteps, insertSession, insertSpecVersion, sessionIdsIn, specVersion, stepsOf, ticketStates, type SessionRow } from './queries.ts'
import { analyseCommit, baseCommit } from './repository.ts'
import { journaledAsk, type CallModel } from './steps.ts'
import { digestOf, StoredAnswer, StoredFailure, StoredSpec } from './stored.ts'
import { lockSession, moveSession, requireSession } from './transition.ts'

export interface DesignDependencies {
  readonly db: Database
  readonly now: () => number
  readonly makeId: (kind: 'session') => string
  readonly callModel: CallModel
  /** Model that designs, and who serves it: anthropic, rehearsal or compatible. */
  readonly model: string
  readonly modelLabel: string
  /** Where a repository lies. Throws not_found. */
  readonly repository: (repositoryId: string) => Promise<{ path: string; slug: string; projectId: string; defaultBranch: string }>
  /** Checks that swarm.yml of this commit, or detection, names. */
  readonly checks: (repositoryId: string, commitSha: string) => Promise<readonly { name: string; command: string }[]>
  /** Names of the registered agents. */
  readonly agents: () => Promise<readonly string[]>
  /** For tickets that ask for none. */
  readonly defaultAgent: string
  readonly approvals: ApprovalCommands
  readonly tickets: Pick<TicketCommands, 'createMany'>
  readonly onError: (error: unknown, what: string) => void
}

export interface DesignService extends AsyncDisposable {
  /** @throws DomainError spec_…, token_cap_too_small, not_found, repository_without_commits */
  create(input: { projectId: string; repositoryId: string; spec: string; maxCostMicroUsd?: number | undefined; tokenCap?: number | undefined; correlationId: string }): Promise<SessionRow>
  /** @throws DomainError not_found, illegal_transition */
  cancel(sessionId: string, correlationId: string): Promise<SessionRow>
  /** @throws DomainError not_found, illegal_transition */
  retry(sessionId: string, correlationId: string): Promise<SessionRow>
  /** Takes up a session that failed with this error, whose cause is gone; any other is left as it is. True if it did. */
  resumeFailed(trx: Trx, input: { sessionId: string; failedWith: string; correlationId: string }): Promise<boolean>
  /** Takes up every session that was being designed when the last process ended. Call once at start. Returns their ids. */
  resumeOpenSessions(): Promise<string[]>
  /** Resolves when nothing is being designed in this process. */
  idle(): Promise<void>
  /** Ends a session whose tickets are all over; call it in the transaction that ended one. True if it did. */
  completeIfDone(trx: Trx, sessionId: string, correlationId: string): Promise<boolean>
}

/** Drives design sessions. One process designs a session at a time; several replicas would pay twice, and keep the first answer. */
export function createDesign(deps: DesignDependencies): DesignService {
  const running = new Map<string, { abort: AbortController; done: Promise<void> }>()
  let disposed = false

  function start(sessionId: string): void {
    if (disposed) return
    const before = running.get(sessionId)
    const abort = new AbortController()
    // A run that is being cancelled or was sent back ends before the next one begins.
    const done = (before?.done ?? Promise.resolve()).then(() => drive(sessionId, abort.signal)).catch((error: unknown) => deps.onError(error, `designing ${sessionId}`)).finally(() => {
      if (running.get(sessionId)?.abort === abort) running.delete(sessionId)
    })
    running.set(sessionId, { abort, done })
  }

  async function drive(sessionId: string, signal: AbortSignal): Promise<void> {
    let session = await requireSession(deps.db.read, sessionId)
    await withCorrelationId(session.correlation_id, async () => {
      try {
        if (session.state === 'input') session = await deps.db.write((trx) => moveSession(trx, session, 'design', { now: deps.now(), correlationId: session.correlation_id }))
        if (session.state !== 'ready_for_docs') return
        const context = await contextOf(session)
        const designed = await designPlan(context, journaledAsk(deps, session, signal))
        signal.throwIfAborted()
        await finish(session, context, designed)
      } catch (error) {
        // Stopped or cancelled: the state says what comes next, and the journal keeps what is paid.
        if (signal.aborted) return
        await fail(session, error)
      }
    })
  }

  async function contextOf(session: SessionRow): Promise<DesignContext> {
    const version = await specVersion(deps.db.read, session.id, session.spec_version)
    if (!version) throw new Error(`session ${session.id} has no spec version ${session.spec_version}`)
    const { spec, revisions } = fromJson(StoredSpec, version.parsed)
    const repository = await deps.repository(session.repository_id)
    const analysis = await analyseCommit(repository.path, session.base_sha, await deps.checks(session.repository_id, session.base_sha))
    return { sessionId: session.id, spec, analysis, cap: session.token_cap, revisions, agents: await deps.agents() }
  }

  async function finish(session: SessionRow, context: DesignContext, designed: Designed): Promise<void> {
    const wave = new Map(designed.waves.flatMap((keys, index) => keys.map((key) => [key, index + 1] as const)))
    const plan: Plan = {
      specVersion: session.spec_version, baseSha: session.base_sha, greenfield: context.analysis.greenfield,
      epics: designed.epics.map((epic) => ({ key: epic.key, title: epic.title, requirements: [...epic.requirements], dependsOn: [...epic.dependsOn] })),
      tickets: designed.tickets.map((ticket) => ({
        key: ticket.key, epic: ticket.epic, title: ticket.title, description: ticket.description, acceptance: [...ticket.acceptance], requirements: [...ticket.requirements],
        scope: [...ticket.scope], dependsOn: [...ticket.dependsOn], storyPoints: ticket.storyPoints, agent: ticket.agent === '' ? deps.defaultAgent : ticket.agent, wave: wave.get(ticket.key) ?? 1,
      })),
      waves: designed.waves.map((keys) => [...keys]),
      findings: designed.findings.map((finding) => ({ ...finding, place: [...finding.place] })),
    }
    const planHash = digestOf(plan)
    await deps.db.write(async (trx) => {
      await moveSession(trx, session, 'review', { patch: { plan: json(plan), plan_hash: planHash, failure: null }, now: deps.now(), correlationId: session.correlation_id })
      await appendEvents(trx, [{
        type: 'spec:generated', projectId: session.project_id, subject: { kind: 'session', id: session.id }, correlationId: session.correlation_id,
        data: { sessionId: session.id, planHash, tickets: plan.tickets.length, waves: plan.waves.length, warnings: plan.findings.length },
      }])
      await deps.approvals.request(trx, {
        kind: 'spec_approval', projectId: session.project_id, subject: { kind: 'session', id: session.id }, requester: 'designer', correlationId: session.correlation_id,
        payload: { sessionId: session.id, title: session.title, planHash, requirements: context.spec.requirements.map(({ id, text }) => ({ id, text })), plan },
      })
    })
  }

  async function fail(session: SessionRow, error: unknown): Promise<void> {
    const failure: StoredFailure = error instanceof DomainError
      ? { code: error.code, message: error.message, remedy: error.remedy }
      : { code: 'internal', message: error instanceof Error ? error.message : String(error), remedy: 'Look in the server log, then try again with "retry" on the design session.' }
    if (!(error instanceof DomainError) || error.fault === 'ours') deps.onError(error, `designing ${session.id}`)
    await deps.db.write(async (trx) => {
      const current = await lockSession(trx, session.id)
      if (current.state !== 'input' && current.state !== 'ready_for_docs') return
      await moveSession(trx, current, 'fail', { patch: { failure: json(failure) }, reason: failure.message, now: deps.now(), correlationId: session.correlation_id })
    })
  }

  async function retryIn(trx: Trx, session: SessionRow, correlationId: string): Promise<SessionRow> {
    const built = (await ticketStates(trx, session.id)).length > 0
    if (!sessionCan.retry({ state: session.state as SessionState })) throw new DomainError('illegal_transition', { kind: 'session', id: session.id, from: session.state, to: 'retry' })
    const moved = await moveSession(trx, session, built ? 'resume' : 'retry', { patch: { failure: null }, now: deps.now(), correlationId })
    if (built) {
      await service.completeIfDone(trx, session.id, correlationId)
      return lockSession(trx, session.id)
    }
    // Answers that led nowhere are asked for anew; all others stay paid.
    const ledNowhere = (await stepsOf(trx, session.id)).filter((step) => step.step.startsWith('repair:') || !fromJson(StoredAnswer, step.response).usable)
    await deleteSteps(trx, session.id, ledNowhere.map((step) => step.request_digest))
    afterCommit(trx, () => start(session.id))
    return moved
  }

  const service: DesignService = {
    async create(input) {
      const spec = parseSpec(input.spec)
      const repository = await deps.repository(input.repositoryId)
      if (repository.projectId !== input.projectId) throw new DomainError('not_found', { kind: 'repository', id: input.repositoryId })
      const baseSha = await baseCommit(repository)
      const now = deps.now()
      const row: SessionRow = {
        id: deps.makeId('session'), project_id: input.projectId, repository_id: input.repositoryId, title: spec.title, state: 'input' satisfies SessionState, base_sha: baseSha,
        spec_version: 1, plan: null, plan_hash: null, max_cost_micro_usd: input.maxCostMicroUsd ?? null, token_cap: input.tokenCap ?? DEFAULT_TOKEN_CAP,
        model_label: deps.modelLabel, failure: null, correlation_id: input.correlationId, created_at: now, updated_at: now,
      }
      assertFits({ sessionId: row.id, spec, analysis: await analyseCommit(repository.path, baseSha), cap: row.token_cap, revisions: [], agents: await deps.agents() })
      const stored: StoredSpec = { spec: StoredSpec.shape.spec.parse(spec), revisions: [] }
      await deps.db.write(async (trx) => {
        await insertSession(trx, row)
        await insertSpecVersion(trx, { session_id: row.id, version: 1, markdown: input.spec, parsed: json(stored), hash: digestOf({ markdown: input.spec, revisions: [] }), created_at: now })
        await appendEvents(trx, [{
          type: 'session:update', projectId: row.project_id, subject: { kind: 'session', id: row.id }, correlationId: row.correlation_id,
          data: { sessionId: row.id, from: null, state: 'input', title: row.title, requirements: spec.requirements.length },
        }])
        afterCommit(trx, () => start(row.id))
      })
      return row
    },

    async cancel(sessionId, correlationId) {
      const row = await deps.db.write(async (trx) => {
        const moved = await moveSession(trx, await lockSession(trx, sessionId), 'cancel', { now: deps.now(), correlationId })
        await deps.approvals.cancelFor(trx, { kind: 'session', id: sessionId }, 'the design session was cancelled', correlationId)
        return moved
      })
      running.get(sessionId)?.abort.abort(new Error('the design session was cancelled'))
      return row
    },

    async retry(sessionId, correlationId) {
      return deps.db.write(async (trx) => retryIn(trx, await lockSession(trx, sessionId), correlationId))
    },

    async resumeFailed(trx, input) {
      const session = await lockSession(trx, input.sessionId)
      if (session.state !== 'failed' || session.failure === null || fromJson(StoredFailure, session.failure).code !== input.failedWith) return false
      await retryIn(trx, session, input.correlationId)
      return true
    },

    async resumeOpenSessions() {
      const ids = await sessionIdsIn(deps.db.read, DESIGNING_STATES)
      for (const id of ids) start(id)
      return ids
    },

    async idle() {
      while (running.size > 0) await Promise.all([...running.values()].map(({ done }) => done))
    },

    async completeIfDone(trx, sessionId, correlationId) {
      const session = await lockSession(trx, sessionId)
      if (session.state !== 'building') return false
      const states = await ticketStates(trx, sessionId)
      const total = states.reduce((sum, { count }) => sum + count, 0)
      const count = (state: string): number => states.find((entry) => entry.state === state)?.count ?? 0
      const over = count('done') + count('cancelled') + count('failed')
      await appendEvents(trx, [{
        type: 'build:progress', projectId: session.project_id, subject: { kind: 'session', id: sessionId }, correlationId,
        data: { sessionId, total, done: count('done'), failed: count('failed'), cancelled: count('cancelled') },
      }])
      if (total === 0 || over < total) return false
      const complete = count('failed') === 0 && count('done') > 0
      const unfinished = new DomainError('build_incomplete', { failed: count('failed'), cancelled: count('cancelled'), total })
      const failure: StoredFailure = { code: unfinished.code, message: unfinished.message, remedy: unfinished.remedy }
      await moveSession(trx, session, complete ? 'complete' : 'fail', { now: deps.now(), correlationId, ...(complete ? {} : { patch: { failure: json(failure) }, reason: failure.message }) })
      return true
    },

    async [Symbol.asyncDispose]() {
      disposed = true
      for (const { abort } of running.values()) abort.abort(new Error('the server is stopping'))
      await service.idle()
    },
  }
  registerDecisions(deps, start)
  return service
}
