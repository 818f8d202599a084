import type { Plan } from '@swarm/contract/endpoints/design.ts'
import { specChanges } from '@swarm/core/design/changes.ts'
import type { DesignContext } from '@swarm/core/design/requests.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { withCorrelationId } from '../../correlation.ts'
import { json } from '../../db/json.ts'
import { appendEvents } from '../../events/events.ts'
import { writeCard } from './card-step.ts'
import { clarify, exchangesOf } from './clarification.ts'
import { designPlan, replanPlan, type Designed } from './designer.ts'
import { clarificationsOf, type SessionRow } from './queries.ts'
import { baseOf } from './replanning.ts'
import { analyseCommit } from './repository.ts'
import type { DesignDependencies } from './service.ts'
import { journaledAsk, type Ask } from './steps.ts'
import { digestOf, type StoredFailure } from './stored.ts'
import { lockSession, moveSession, requireSession } from './transition.ts'
import { addVersion, requireVersion } from './versions.ts'

type Material = Omit<DesignContext, 'spec'> & { readonly spec: DesignContext['spec'] | null; readonly markdown: string }

/**
 * Takes a session as far as it goes without a person: questions, card, plan. Each state is entered by a transition, each model
 * step goes through the journal, so a run that was killed anywhere is repeated from its state and pays for nothing twice.
 */
export async function drive(deps: DesignDependencies, sessionId: string, signal: AbortSignal): Promise<void> {
  let session = await requireSession(deps.db.read, sessionId)
  await withCorrelationId(session.correlation_id, async () => {
    try {
      if (session.may_start === 0) return
      if (session.state === 'input') session = await deps.db.write((trx) => moveSession(trx, session, session.clarify === 'open' ? 'clarify' : 'design', { now: deps.now(), correlationId: session.correlation_id }))
      const ask = (): Ask => journaledAsk(deps, session, signal)
      if (session.state === 'clarifying') {
        const { markdown, ...context } = await materialOf(deps, session)
        session = await clarify(deps, session, { context, input: markdown }, ask())
        signal.throwIfAborted()
      }
      if (session.state !== 'ready_for_docs') return
      session = await withCard(deps, session, ask())
      signal.throwIfAborted()
      await plan(deps, session, ask(), signal)
    } catch (error) {
      // Stopped, cancelled or edited: the state says what comes next, and the journal keeps what is paid.
      if (signal.aborted) return
      await fail(deps, session, error)
    }
  })
}

async function materialOf(deps: DesignDependencies, session: SessionRow): Promise<Material> {
  const { row, stored } = await requireVersion(deps.db.read, session, session.spec_version)
  const repository = await deps.repository(session.repository_id)
  const analysis = await analyseCommit(repository.path, session.base_sha, await deps.checks(session.repository_id, session.base_sha))
  return { sessionId: session.id, spec: stored.spec, markdown: row.markdown, analysis, cap: session.token_cap, revisions: stored.revisions, agents: await deps.agents() }
}

/** Has the spec written where there is only an idea, or where answers are to be worked into it. */
async function withCard(deps: DesignDependencies, session: SessionRow, ask: Ask): Promise<SessionRow> {
  const { markdown, ...context } = await materialOf(deps, session)
  const rows = await clarificationsOf(deps.db.read, session.id)
  // Answers on an earlier version are in the one that was written since.
  const answered = rows.some(({ answered_version }) => answered_version !== null && answered_version >= session.spec_version)
  if (context.spec !== null && !answered) return session
  const made = await writeCard({ context, input: markdown, exchanges: exchangesOf(rows) }, ask)
  return deps.db.write(async (trx) => {
    const current = await lockSession(trx, session.id)
    if (current.state !== 'ready_for_docs' || current.spec_version !== session.spec_version) return current
    const version = session.spec_version + 1
    const now = deps.now()
    await addVersion(trx, {
      sessionId: session.id, version, markdown: made.markdown, spec: made.spec, card: made.card, revisions: context.revisions, author: 'designer', now,
      reason: answered ? 'written from what was asked and answered' : 'written from the idea',
    })
    const patch = { spec_version: version, title: made.spec.title, updated_at: now }
    await trx.updateTable('design_sessions').set(patch).where('id', '=', session.id).execute()
    await appendEvents(trx, [{
      type: 'session:update', projectId: session.project_id, subject: { kind: 'session', id: session.id }, correlationId: session.correlation_id,
      data: { sessionId: session.id, state: current.state, specVersion: version, title: made.spec.title, requirements: made.spec.requirements.length },
    }])
    return { ...current, ...patch }
  })
}

async function plan(deps: DesignDependencies, session: SessionRow, ask: Ask, signal: AbortSignal): Promise<void> {
  const { markdown: _, spec, ...rest } = await materialOf(deps, session)
  // Written to meanwhile: the run that was started for that goes on with it.
  if (spec === null) return
  const context = { ...rest, spec }
  const base = baseOf(session)
  if (base === null) return finish(deps, session, context, await designPlan(context, ask), null, signal)
  const { stored } = await requireVersion(deps.db.read, session, base.plan.specVersion)
  if (stored.spec === null) throw new Error(`version ${base.plan.specVersion} of ${session.id} was planned without a spec`)
  const designed = await replanPlan(context, { base: { ...base.plan, started: base.started, taken: base.taken }, changes: specChanges(stored.spec, spec), version: session.spec_version }, ask)
  const before = new Set(base.plan.tickets.map(({ key }) => key))
  const kept = new Set(designed.kept)
  const keys = designed.tickets.map(({ key }) => key)
  await finish(deps, session, context, designed, {
    sinceVersion: base.plan.specVersion, kept: keys.filter((key) => kept.has(key)), added: keys.filter((key) => !kept.has(key)), dropped: [...designed.dropped], started: base.started.filter((key) => before.has(key)),
  }, signal)
}

async function finish(deps: DesignDependencies, session: SessionRow, context: DesignContext, designed: Designed, change: Plan['change'], signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const wave = new Map(designed.waves.flatMap((keys, index) => keys.map((key) => [key, index + 1] as const)))
  const made: Plan = {
    specVersion: session.spec_version, baseSha: session.base_sha, greenfield: context.analysis.greenfield, change,
    epics: designed.epics.map((epic) => ({ key: epic.key, title: epic.title, requirements: [...epic.requirements], dependsOn: [...epic.dependsOn] })),
    tickets: designed.tickets.map((ticket) => ({
      key: ticket.key, epic: ticket.epic, title: ticket.title, description: ticket.description, acceptance: [...ticket.acceptance], requirements: [...ticket.requirements],
      scope: [...ticket.scope], dependsOn: [...ticket.dependsOn], storyPoints: ticket.storyPoints, agent: ticket.agent === '' ? deps.defaultAgent : ticket.agent, wave: wave.get(ticket.key) ?? 1,
    })),
    waves: designed.waves.map((keys) => [...keys]),
    findings: designed.findings.map((finding) => ({ ...finding, place: [...finding.place] })),
  }
  const planHash = digestOf(made)
  await deps.db.write(async (trx) => {
    const current = await lockSession(trx, session.id)
    // A version that was written meanwhile has a run of its own.
    if (current.state !== 'ready_for_docs' || current.spec_version !== session.spec_version) return
    await moveSession(trx, current, 'review', { patch: { plan: json(made), plan_hash: planHash, failure: null }, now: deps.now(), correlationId: session.correlation_id })
    await appendEvents(trx, [{
      type: 'spec:generated', projectId: session.project_id, subject: { kind: 'session', id: session.id }, correlationId: session.correlation_id,
      data: { sessionId: session.id, planHash, tickets: made.tickets.length, waves: made.waves.length, warnings: made.findings.length },
    }])
    await deps.approvals.request(trx, {
      kind: 'spec_approval', projectId: session.project_id, subject: { kind: 'session', id: session.id }, requester: 'designer', correlationId: session.correlation_id,
      payload: { sessionId: session.id, title: session.title, specVersion: session.spec_version, planHash, requirements: context.spec.requirements.map(({ id, text }) => ({ id, text })), plan: made },
    })
  })
}

async function fail(deps: DesignDependencies, session: SessionRow, error: unknown): Promise<void> {
  const failure: StoredFailure = error instanceof DomainError
    ? { code: error.code, message: error.message, remedy: error.remedy }
    : { code: 'internal', message: error instanceof Error ? error.message : String(error), remedy: 'Look in the server log, then try again with "retry" on the design session.' }
  if (!(error instanceof DomainError) || error.fault === 'ours') deps.onError(error, `designing ${session.id}`)
  await deps.db.write(async (trx) => {
    const current = await lockSession(trx, session.id)
    if (current.state !== 'input' && current.state !== 'clarifying' && current.state !== 'ready_for_docs') return
    await moveSession(trx, current, 'fail', { patch: { failure: json(failure) }, reason: failure.message, now: deps.now(), correlationId: session.correlation_id })
  })
}
