import { DEFAULT_TOKEN_CAP } from '@swarm/core/design/chunks.ts'
import { DESIGNING_STATES, sessionCan, type SessionState } from '@swarm/core/design/session.ts'
import { parseSpec, type Spec } from '@swarm/core/design/spec.ts'
import { shorten } from '@swarm/core/design/text.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Database } from '../../db/database.ts'
import { fromJson, json } from '../../db/json.ts'
import { afterCommit, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { ApprovalCommands, TicketCommands, TicketReplan } from '../../ports.ts'
import { answerByVersion, answerQuestion, skipQuestions } from './clarification.ts'
import { askToStart, registerDecisions } from './decisions.ts'
import { assertFits } from './designer.ts'
import { drive } from './drive.ts'
import { compareEstimate } from './estimates.ts'
import { deleteSteps, insertSession, sessionIdsIn, stepsOf, ticketStates, type SessionRow } from './queries.ts'
import { baseFor, baseOf, builtBase, takeBack } from './replanning.ts'
import { analyseCommit, baseCommit } from './repository.ts'
import type { CallModel } from './steps.ts'
import { StoredAnswer, StoredFailure } from './stored.ts'
import { lockSession, moveSession, requireSession } from './transition.ts'
import { addVersion, requireVersion } from './versions.ts'

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
  readonly tickets: Pick<TicketCommands, 'createMany'> & { readonly replan: TicketReplan }
  /** Tickets of a project that may be worked on at once. */
  readonly concurrency: (trx: Trx, projectId: string) => Promise<number>
  readonly onError: (error: unknown, what: string) => void
}

export interface DesignService extends AsyncDisposable {
  /**
   * @param input.spec Markdown with requirements; or `input.input`: an idea, of which the designer writes one
   * @param input.by who starts it: `<kind> <id>`
   * @throws DomainError spec_…, token_cap_too_small, not_found, repository_without_commits
   */
  create(input: { projectId: string; repositoryId: string; spec?: string | undefined; input?: string | undefined; clarify: 'auto' | 'off'; confirmStart?: boolean; maxCostMicroUsd?: number | undefined; tokenCap?: number | undefined; by: string; correlationId: string }): Promise<SessionRow>
  /** @throws DomainError not_found, question_closed */
  answer(input: { sessionId: string; number: number; answer: string; by: string; correlationId: string }): Promise<SessionRow>
  /** Ends the questions. @throws DomainError not_found, illegal_transition */
  skip(input: { sessionId: string; by: string; correlationId: string }): Promise<SessionRow>
  /** Writes a new version of the spec; the same text again is none. @throws DomainError spec_…, token_cap_too_small, not_found, version_conflict, illegal_transition */
  edit(input: { sessionId: string; spec: string; baseVersion: number; reason: string; by: string; correlationId: string }): Promise<SessionRow>
  /** Before the build the session is over; while it is built, the change that is being designed is taken back. @throws DomainError not_found, illegal_transition */
  cancel(input: { sessionId: string; by: string; correlationId: string }): Promise<SessionRow>
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
    const done = (before?.done ?? Promise.resolve()).then(() => drive(deps, sessionId, abort.signal)).catch((error: unknown) => deps.onError(error, `designing ${sessionId}`)).finally(() => {
      if (running.get(sessionId)?.abort === abort) running.delete(sessionId)
    })
    running.set(sessionId, { abort, done })
  }

  /** What runs is about something else by now: it ends, what it paid stays in the journal, and the session is taken up anew. */
  function restart(sessionId: string, why: string): void {
    running.get(sessionId)?.abort.abort(new Error(why))
    start(sessionId)
  }

  /** @throws DomainError token_cap_too_small */
  async function assertDesignable(session: SessionRow, path: string, spec: Spec): Promise<void> {
    assertFits({ sessionId: session.id, spec, analysis: await analyseCommit(path, session.base_sha), cap: session.token_cap, revisions: [], agents: await deps.agents() })
  }

  async function retryIn(trx: Trx, session: SessionRow, correlationId: string): Promise<SessionRow> {
    const built = (await ticketStates(trx, session.id)).length > 0
    if (!sessionCan.retry({ state: session.state as SessionState })) throw new DomainError('illegal_transition', { kind: 'session', id: session.id, from: session.state, to: 'retry' })
    // Of a build it is the build that goes on, unless what failed was the design of a change to it.
    const resume = built && baseOf(session) === null
    const action = resume ? 'resume' : session.clarify === 'open' ? 'reclarify' : 'retry'
    const moved = await moveSession(trx, session, action, { patch: { failure: null }, now: deps.now(), correlationId })
    if (resume) {
      await service.completeIfDone(trx, session.id, correlationId)
      return lockSession(trx, session.id)
    }
    // Answers that led nowhere are asked for anew; all others stay paid.
    const ledNowhere = (await stepsOf(trx, session.id)).filter((step) => /^(?:repair[:@]|card)/.test(step.step) || !fromJson(StoredAnswer, step.response).usable)
    await deleteSteps(trx, session.id, ledNowhere.map((step) => step.request_digest))
    afterCommit(trx, () => start(session.id))
    return moved
  }

  const service: DesignService = {
    async create(input) {
      const spec = input.spec === undefined ? null : parseSpec(input.spec)
      const markdown = input.spec ?? input.input ?? ''
      const repository = await deps.repository(input.repositoryId)
      if (repository.projectId !== input.projectId) throw new DomainError('not_found', { kind: 'repository', id: input.repositoryId })
      const baseSha = await baseCommit(repository)
      const now = deps.now()
      const row: SessionRow = {
        id: deps.makeId('session'), project_id: input.projectId, repository_id: input.repositoryId, title: spec?.title ?? shorten(markdown.split('\n')[0]?.trim() || 'Idea', 80), state: 'input' satisfies SessionState, base_sha: baseSha,
        spec_version: 1, plan: null, plan_hash: null, max_cost_micro_usd: input.maxCostMicroUsd ?? null, token_cap: input.tokenCap ?? DEFAULT_TOKEN_CAP,
        model_label: deps.modelLabel, failure: null, clarify: input.clarify === 'auto' ? 'open' : 'off', may_start: input.confirmStart === true ? 0 : 1, coverage: null, base: null, correlation_id: input.correlationId, created_at: now, updated_at: now,
      }
      if (spec !== null) await assertDesignable(row, repository.path, spec)
      await deps.db.write(async (trx) => {
        await insertSession(trx, row)
        await addVersion(trx, { sessionId: row.id, version: 1, markdown, spec, revisions: [], author: input.by, reason: spec === null ? 'the idea' : 'the spec that was handed in', now })
        await appendEvents(trx, [{
          type: 'session:update', projectId: row.project_id, subject: { kind: 'session', id: row.id }, correlationId: row.correlation_id,
          data: { sessionId: row.id, from: null, state: 'input', title: row.title, requirements: spec?.requirements.length ?? 0 },
        }])
        if (row.may_start === 1) afterCommit(trx, () => start(row.id))
        else await askToStart(trx, deps, row, input.by, markdown)
      })
      return row
    },

    async answer(input) {
      return deps.db.write(async (trx) => {
        const session = await answerQuestion(trx, deps, input)
        afterCommit(trx, () => start(session.id))
        return session
      })
    },

    async skip(input) {
      return deps.db.write(async (trx) => {
        const session = await skipQuestions(trx, deps, input)
        afterCommit(trx, () => restart(session.id, 'the questions were ended'))
        return session
      })
    },

    async edit(input) {
      const spec = parseSpec(input.spec)
      const seen = await requireSession(deps.db.read, input.sessionId)
      const repository = await deps.repository(seen.repository_id)
      // What is changed while it is built is grounded in what was merged so far.
      const baseSha = (await ticketStates(deps.db.read, seen.id)).length > 0 ? await baseCommit(repository) : seen.base_sha
      await assertDesignable({ ...seen, base_sha: baseSha }, repository.path, spec)
      return deps.db.write(async (trx) => {
        const session = await lockSession(trx, input.sessionId)
        if (session.spec_version !== input.baseVersion) throw new DomainError('version_conflict', { kind: 'the spec of', id: session.id, current: session.spec_version, given: input.baseVersion })
        const { row, stored } = await requireVersion(trx, session, session.spec_version)
        if (row.markdown === input.spec) return session
        const version = session.spec_version + 1
        const now = deps.now()
        await addVersion(trx, { sessionId: session.id, version, markdown: input.spec, spec, revisions: stored.revisions, author: input.by, reason: input.reason, now })
        await answerByVersion(trx, deps, session, { version, by: input.by, correlationId: input.correlationId })
        // Whoever writes the spec after its clarification failed has said what there is to say.
        const closed = session.state === 'failed' && session.clarify === 'open' ? { clarify: 'closed' } : {}
        const moved = await moveSession(trx, session, 'revise', {
          patch: { spec_version: version, title: spec.title, plan: null, plan_hash: null, failure: null, base_sha: baseSha, ...closed, ...await baseFor(trx, session) }, reason: `version ${version} by ${input.by}`, now, correlationId: input.correlationId,
        })
        await deps.approvals.cancelFor(trx, { kind: 'session', id: session.id }, `the spec was edited: it is at version ${version} now`, input.correlationId)
        afterCommit(trx, () => restart(session.id, 'the spec was edited'))
        return moved
      })
    },

    async cancel({ sessionId, by, correlationId }) {
      return deps.db.write(async (trx) => {
        const session = await lockSession(trx, sessionId)
        const base = builtBase(session)
        const moved = base === null
          ? await moveSession(trx, session, 'cancel', { now: deps.now(), correlationId })
          : await takeBack(trx, session, base, { author: by, reason: '', now: deps.now(), correlationId })
        await deps.approvals.cancelFor(trx, { kind: 'session', id: sessionId }, base === null ? 'the design session was cancelled' : 'the change was taken back', correlationId)
        afterCommit(trx, () => running.get(sessionId)?.abort.abort(new Error('the design session was cancelled')))
        return moved
      })
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
      if (complete) await compareEstimate(trx, session, deps.now())
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
