import { Plan } from '@swarm/contract/endpoints/design.ts'
import { shorten } from '@swarm/core/design/text.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { z } from 'zod'
import { fromJson, json } from '../../db/json.ts'
import { afterCommit, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { DecisionReaction, PlannedTicket } from '../../ports.ts'
import { buildPayload, keepEstimate } from './estimates.ts'
import { baseFor, builtBase, takeBack } from './replanning.ts'
import type { SessionRow } from './queries.ts'
import type { DesignDependencies } from './service.ts'
import { digestOf, type StoredFailure } from './stored.ts'
import { lockSession, moveSession } from './transition.ts'
import { addVersion, requireVersion } from './versions.ts'

/** Of what is wanted, shown before the design begins. */
const MAX_SHOWN_CHARACTERS = 20_000

/** What both approvals carry: the plan that they are about. */
const AboutPlan = z.looseObject({ planHash: z.string() })

type Decided = Parameters<DecisionReaction['approved']>[1]
type Refused = Parameters<DecisionReaction['rejected']>[1]
type Lapsed = Parameters<NonNullable<DecisionReaction['expired']>>[1]

/**
 * What happens in the transaction of a decision: an approved spec asks for the build to be confirmed, with its numbers; a
 * confirmed build becomes tickets, a confirmed change of one changes them; what is sent back goes to the designer again with the
 * reason; what is rejected is over, and where it is a change of what is being built, that goes on as it was.
 */
export function registerDecisions(deps: DesignDependencies, start: (sessionId: string) => void): void {
  const shown = async (trx: Trx, approval: Decided): Promise<{ session: SessionRow; plan: Plan }> => {
    const session = await lockSession(trx, approval.subjectId)
    // The hash says what the person saw; a plan that was made anew since is another matter.
    if (session.plan === null || AboutPlan.parse(approval.payload).planHash !== session.plan_hash) throw new DomainError('payload_changed', { id: approval.id })
    return { session, plan: fromJson(Plan, session.plan) }
  }

  const refused = async (trx: Trx, approval: Refused): Promise<void> => {
    const session = await lockSession(trx, approval.subjectId)
    const change = { now: deps.now(), correlationId: approval.correlationId, reason: approval.reason }
    const base = builtBase(session)
    if (approval.status === 'rejected') {
      if (base === null) await moveSession(trx, session, 'cancel', change)
      else await takeBack(trx, session, base, { ...change, author: approval.decidedBy })
      return
    }
    const { row, stored } = await requireVersion(trx, session, session.spec_version)
    const revisions = [...stored.revisions, approval.reason.trim() === '' ? 'Plan it again.' : approval.reason.trim()]
    const version = session.spec_version + 1
    await addVersion(trx, { sessionId: session.id, version, markdown: row.markdown, spec: stored.spec, revisions, author: approval.decidedBy, reason: approval.reason, now: deps.now() })
    await moveSession(trx, session, 'revise', {
      ...change, patch: { spec_version: version, plan: null, plan_hash: null, ...(base === null ? { base: null } : await baseFor(trx, session)) },
    })
    afterCommit(trx, () => start(session.id))
  }

  /** Nobody decided: a change of what is being built is taken back, and anything else fails, so that a retry asks again for what is designed already. */
  const lapsed = async (trx: Trx, approval: Lapsed): Promise<void> => {
    const session = await lockSession(trx, approval.subjectId)
    const over = new DomainError('approval_expired', { kind: approval.kind, hours: Math.round(approval.waitedMs / 3_600_000), sessionId: session.id })
    const change = { now: deps.now(), correlationId: approval.correlationId, reason: over.message }
    const base = builtBase(session)
    if (base === null) await moveSession(trx, session, 'fail', { ...change, patch: { failure: json({ code: over.code, message: over.message, remedy: over.remedy } satisfies StoredFailure) } })
    else await takeBack(trx, session, base, { ...change, author: 'swarm' })
  }

  deps.approvals.onDecision('design_start', {
    async approved(trx, approval) {
      const session = await lockSession(trx, approval.subjectId)
      if (session.state !== 'input' || session.may_start !== 0) throw new DomainError('payload_changed', { id: approval.id })
      await trx.updateTable('design_sessions').set({ may_start: 1, updated_at: deps.now() }).where('id', '=', session.id).execute()
      await appendEvents(trx, [{
        type: 'session:update', projectId: session.project_id, subject: { kind: 'session', id: session.id }, correlationId: approval.correlationId,
        data: { sessionId: session.id, state: session.state, startApprovedBy: approval.decidedBy },
      }])
      afterCommit(trx, () => start(session.id))
    },
    // Nothing was designed that could be revised: what is not to be begun is over.
    async rejected(trx, approval) {
      await moveSession(trx, await lockSession(trx, approval.subjectId), 'cancel', { now: deps.now(), correlationId: approval.correlationId, reason: approval.reason })
    },
    async expired(trx, approval) {
      await moveSession(trx, await lockSession(trx, approval.subjectId), 'cancel', { now: deps.now(), correlationId: approval.correlationId, reason: 'nobody gave leave to start in time' })
    },
  })

  deps.approvals.onDecision('spec_approval', {
    async approved(trx, approval) {
      const { session, plan } = await shown(trx, approval)
      await moveSession(trx, session, 'approve', { now: deps.now(), correlationId: approval.correlationId })
      await deps.approvals.request(trx, {
        kind: 'build_start', projectId: session.project_id, subject: { kind: 'session', id: session.id }, requester: 'designer', correlationId: approval.correlationId,
        payload: await buildPayload(trx, session, plan, await deps.concurrency(trx, session.project_id)),
      })
    },
    rejected: refused,
    expired: lapsed,
  })

  deps.approvals.onDecision('build_start', {
    async approved(trx, approval) {
      const { session, plan } = await shown(trx, approval)
      const { correlationId } = approval
      await keepEstimate(trx, session, approval.payload, deps.now())
      const planned = await plannedTickets(trx, session, plan)
      const about = { projectId: session.project_id, repositoryId: session.repository_id, sessionId: session.id, correlationId }
      const base = builtBase(session)
      const done = base === null
        ? { made: await deps.tickets.createMany(trx, { ...about, tickets: planned }), cancelled: [], left: [] }
        : await changeTickets(trx, deps, about, plan, planned, base.taken)
      await moveSession(trx, session, 'build', { patch: { base: null }, now: deps.now(), correlationId })
      await appendEvents(trx, [{
        type: 'tickets:generated', projectId: session.project_id, subject: { kind: 'session', id: session.id }, correlationId,
        data: { sessionId: session.id, tickets: Object.fromEntries(done.made), cancelled: done.cancelled, startedMeanwhile: done.left },
      }])
    },
    rejected: refused,
    expired: lapsed,
  })
}

/** Asks a person whether the design may begin, with what it may spend. */
export async function askToStart(trx: Trx, deps: Pick<DesignDependencies, 'approvals'>, session: SessionRow, by: string, wanted: string): Promise<void> {
  await deps.approvals.request(trx, {
    kind: 'design_start', projectId: session.project_id, subject: { kind: 'session', id: session.id }, requester: by, correlationId: session.correlation_id,
    payload: {
      sessionId: session.id, title: session.title, specHash: digestOf({ wanted }), wanted: shorten(wanted, MAX_SHOWN_CHARACTERS), clarify: session.clarify === 'open', modelLabel: session.model_label,
      maxCostMicroUsd: session.max_cost_micro_usd, tokenCap: session.token_cap,
    },
  })
}

async function changeTickets(trx: Trx, deps: DesignDependencies, about: { projectId: string; repositoryId: string; sessionId: string; correlationId: string }, plan: Plan, planned: readonly PlannedTicket[], existing: readonly string[]) {
  const known = new Set(existing)
  const started = new Set(plan.change?.started)
  return deps.tickets.replan(trx, {
    ...about, drop: plan.change?.dropped ?? [], tickets: planned.filter(({ key }) => !known.has(key)),
    order: new Map(planned.filter(({ key }) => known.has(key) && !started.has(key)).map(({ key, dependsOn }) => [key, dependsOn])),
  })
}

async function plannedTickets(trx: Trx, session: SessionRow, plan: Plan): Promise<PlannedTicket[]> {
  const { stored } = await requireVersion(trx, session, session.spec_version)
  const texts = new Map(stored.spec?.requirements.map(({ id, text }) => [id, text]))
  return plan.tickets.map((ticket) => ({
    key: ticket.key, title: ticket.title, description: ticket.description, acceptance: ticket.acceptance, scope: ticket.scope, dependsOn: ticket.dependsOn,
    storyPoints: ticket.storyPoints, wave: ticket.wave, agent: ticket.agent, requirements: ticket.requirements.map((id) => ({ id, text: texts.get(id) ?? '' })),
  }))
}
