import { Plan } from '@swarm/contract/endpoints/design.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { z } from 'zod'
import { fromJson, json } from '../../db/json.ts'
import { afterCommit, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { DecisionReaction } from '../../ports.ts'
import { insertSpecVersion, type SessionRow, specVersion } from './queries.ts'
import type { DesignDependencies } from './service.ts'
import { digestOf, StoredSpec } from './stored.ts'
import { lockSession, moveSession } from './transition.ts'

/** What both approvals carry: the plan that they are about. */
const AboutPlan = z.looseObject({ planHash: z.string() })

type Decided = Parameters<DecisionReaction['approved']>[1]
type Refused = Parameters<DecisionReaction['rejected']>[1]

/**
 * What happens in the transaction of a decision: an approved spec asks for the build to be confirmed, with its numbers; a
 * confirmed build becomes tickets; what is sent back goes to the designer again with the reason; what is rejected is over.
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
    if (approval.status === 'rejected') {
      await moveSession(trx, session, 'cancel', change)
      return
    }
    const before = await specVersion(trx, session.id, session.spec_version)
    if (!before) throw new Error(`session ${session.id} has no spec version ${session.spec_version}`)
    const stored = fromJson(StoredSpec, before.parsed)
    const revisions = [...stored.revisions, approval.reason.trim() === '' ? 'Plan it again.' : approval.reason.trim()]
    const version = session.spec_version + 1
    await insertSpecVersion(trx, {
      session_id: session.id, version, markdown: before.markdown, parsed: json({ ...stored, revisions }), hash: digestOf({ markdown: before.markdown, revisions }), created_at: deps.now(),
    })
    await moveSession(trx, session, 'revise', { ...change, patch: { spec_version: version, plan: null, plan_hash: null } })
    afterCommit(trx, () => start(session.id))
  }

  deps.approvals.onDecision('spec_approval', {
    async approved(trx, approval) {
      const { session, plan } = await shown(trx, approval)
      await moveSession(trx, session, 'approve', { now: deps.now(), correlationId: approval.correlationId })
      await deps.approvals.request(trx, {
        kind: 'build_start', projectId: session.project_id, subject: { kind: 'session', id: session.id }, requester: 'designer', correlationId: approval.correlationId,
        payload: {
          sessionId: session.id, title: session.title, planHash: session.plan_hash, modelLabel: session.model_label, maxCostMicroUsd: session.max_cost_micro_usd,
          ...buildNumbers(plan),
        },
      })
    },
    rejected: refused,
  })

  deps.approvals.onDecision('build_start', {
    async approved(trx, approval) {
      const { session, plan } = await shown(trx, approval)
      const texts = await requirementTexts(trx, session)
      const ids = await deps.tickets.createMany(trx, {
        projectId: session.project_id, repositoryId: session.repository_id, sessionId: session.id, correlationId: approval.correlationId,
        tickets: plan.tickets.map((ticket) => ({
          key: ticket.key, title: ticket.title, description: ticket.description, acceptance: ticket.acceptance, scope: ticket.scope, dependsOn: ticket.dependsOn,
          storyPoints: ticket.storyPoints, wave: ticket.wave, agent: ticket.agent, requirements: ticket.requirements.map((id) => ({ id, text: texts.get(id) ?? '' })),
        })),
      })
      await moveSession(trx, session, 'build', { now: deps.now(), correlationId: approval.correlationId })
      await appendEvents(trx, [{
        type: 'tickets:generated', projectId: session.project_id, subject: { kind: 'session', id: session.id }, correlationId: approval.correlationId,
        data: { sessionId: session.id, tickets: Object.fromEntries(ids) },
      }])
    },
    rejected: refused,
  })
}

/** What starting the build means, computed from the plan. */
export function buildNumbers(plan: Plan): { tickets: number; waves: number; storyPoints: number; vms: { least: number; atOnce: number } } {
  return {
    tickets: plan.tickets.length, waves: plan.waves.length, storyPoints: plan.tickets.reduce((sum, ticket) => sum + ticket.storyPoints, 0),
    // Each ticket takes at least one microVM for its attempt, one for its checks and one for the checks of the merged tree.
    vms: { least: plan.tickets.length * 3, atOnce: Math.max(0, ...plan.waves.map((keys) => keys.length)) },
  }
}

async function requirementTexts(trx: Trx, session: SessionRow): Promise<Map<string, string>> {
  const version = await specVersion(trx, session.id, session.spec_version)
  return new Map(version ? fromJson(StoredSpec, version.parsed).spec.requirements.map(({ id, text }) => [id, text]) : [])
}
