import { CAP_FIELD, listBudgets, setBudget, type Budget } from '@swarm/contract/endpoints/budgets.ts'
import type { ProjectSettings } from '@swarm/contract/endpoints/projects.ts'
import { showModel } from '@swarm/contract/endpoints/system.ts'
import { BUDGET_UNITS, left, type BudgetUnit, type CeilingKind } from '@swarm/core/budgets/reserve.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { Schema } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { register, type HttpTarget } from '../../http/register.ts'
import type { ApprovalCommands } from '../../ports.ts'
import { accountOf, resumeStopped, type StoppedByBudget } from './breach.ts'
import { capsOf, ceilingsOf, tellThresholds, type Cap } from './ceilings.ts'
import type { ModelGateway } from './gateway.ts'
import { placeOf, putCeiling, removeCeiling, sessionsOf, setSessionCeiling, spending, spendingIn, storedCeilings, ticketsOf, type Spending } from './queries.ts'

export interface BudgetDependencies {
  readonly db: Database
  readonly approvals: Pick<ApprovalCommands, 'cancelFor'>
  readonly stopped: StoppedByBudget
  /** The project with this id or slug. @throws DomainError not_found */
  project(idOrSlug: string): Promise<{ id: string; name: string; settings: ProjectSettings }>
}

const NOTHING: Spending = { micro_usd: { spent: 0, reserved: 0 }, tokens: { spent: 0, reserved: 0 } }

function present(kind: CeilingKind, id: string, name: string, caps: readonly Cap[], spent: Spending): Budget {
  const amount = (unit: BudgetUnit): Budget['tokens'] => {
    const cap = caps.find((each) => each.unit === unit)?.cap ?? null
    return { cap, ...spent[unit], left: cap === null ? null : left({ cap, ...spent[unit] }) }
  }
  return { kind, id, name, microUsd: amount('micro_usd'), tokens: amount('tokens') }
}

/** The budgets of a project: its own, then those of its sessions and tickets. */
async function budgetsOf(db: Kysely<Schema>, project: { id: string; name: string; settings: ProjectSettings }): Promise<Budget[]> {
  const [sessions, tickets, bySession, byTicket, whole] = await Promise.all([sessionsOf(db, project.id), ticketsOf(db, project.id), spendingIn(db, project.id, 'session'), spendingIn(db, project.id, 'ticket'), spending(db, 'project', project.id)])
  const stored = await storedCeilings(db, [...sessions.map(({ id }) => ({ kind: 'session' as const, id })), ...tickets.map(({ id }) => ({ kind: 'ticket' as const, id }))])
  const caps = (kind: CeilingKind, id: string, otherwise: Record<BudgetUnit, number | null>): Cap[] => BUDGET_UNITS.flatMap((unit) => {
    const cap = stored.find((each) => each.kind === kind && each.id === id && each.unit === unit)?.cap ?? otherwise[unit]
    return cap === null ? [] : [{ kind, id, unit, cap }]
  })
  const { settings } = project
  return [
    present('project', project.id, project.name, caps('project', project.id, { micro_usd: settings.maxCostMicroUsd, tokens: settings.maxTokens }), whole),
    ...sessions.map((each) => present('session', each.id, each.title, caps('session', each.id, { micro_usd: each.max_cost_micro_usd, tokens: null }), bySession.get(each.id) ?? NOTHING)),
    ...tickets.map((each) => present('ticket', each.id, each.title, caps('ticket', each.id, { micro_usd: settings.ticketMaxCostMicroUsd, tokens: settings.ticketMaxTokens }), byTicket.get(each.id) ?? NOTHING)),
  ]
}

export interface CeilingChange { kind: 'project' | 'session' | 'ticket'; id: string; projectId: string; by: string; correlationId: string }

/**
 * Lets `change` set ceilings of one subject, under the locks that every call under them takes. Open questions about a ceiling
 * that changed are void, and what stopped at one that is now higher goes on. `own` in the event of a ticket: whether it has a
 * ceiling of its own from then on, or that of its project.
 */
export async function changingCeilings<T>(trx: Trx, deps: Pick<BudgetDependencies, 'approvals' | 'stopped'>, input: CeilingChange, change: () => Promise<T>): Promise<T> {
  const { kind, id, projectId, correlationId } = input
  const account = await accountOf(trx, { kind, id, projectId, correlationId })
  const own = async (): Promise<Set<string>> => new Set(kind === 'ticket' ? (await storedCeilings(trx, [{ kind, id }])).map((each) => each.unit) : [])
  const [before, ownBefore] = [await capsOf(trx, account), await own()]
  const result = await change()
  const [after, ownAfter] = [await ceilingsOf(trx, account), await own()]
  for (const unit of BUDGET_UNITS) {
    const of = (all: readonly Cap[]): number | null => all.find((each) => each.kind === kind && each.id === id && each.unit === unit)?.cap ?? null
    const [from, to] = [of(before), of(after)]
    if (from === to && ownBefore.has(unit) === ownAfter.has(unit)) continue
    await appendEvents(trx, [{ type: 'budget:set', projectId, subject: { kind, id }, correlationId, data: { ceiling: kind, ceilingId: id, unit, from, cap: to, ...kind === 'ticket' ? { own: ownAfter.has(unit) } : {}, by: input.by, sessionId: account.sessionId, ticketId: account.ticketId } }])
    if (from === to) continue
    await deps.approvals.cancelFor(trx, { kind, id }, 'its ceiling was set anew', correlationId, 'budget_breach')
    if (from !== null && (to === null || to > from)) await resumeStopped(trx, deps.stopped, { kind, id, unit }, correlationId)
  }
  await tellThresholds(trx, account, after.filter((each) => each.kind === kind))
  return result
}

async function setCeilings(trx: Trx, deps: BudgetDependencies, input: CeilingChange & { caps: Partial<Record<BudgetUnit, number | null | undefined>> }): Promise<void> {
  const { kind, id, projectId, correlationId } = input
  await changingCeilings(trx, deps, input, async () => {
    for (const unit of BUDGET_UNITS) {
      const cap = input.caps[unit]
      if (cap === undefined) continue
      if (kind === 'project') await deps.stopped.setProject(trx, { projectId, patch: { [CAP_FIELD[unit]]: cap }, correlationId })
      else if (kind === 'session' && unit === 'micro_usd') await setSessionCeiling(trx, id, cap)
      else if (cap === null) await removeCeiling(trx, { kind, id, unit })
      else await putCeiling(trx, { kind, id, unit, cap, now: Date.now() })
    }
  })
}

export function registerBudgets(http: HttpTarget, deps: BudgetDependencies): void {
  const { db } = deps
  register(http, listBudgets, async ({ params }) => ({ items: await budgetsOf(db.read, await deps.project(params.projectId)) }))
  register(http, setBudget, async ({ params: { kind, id }, body, principal, correlationId }) => {
    const projectId = kind === 'project' ? (await deps.project(id)).id : await placeOf(db.read, kind, id)
    if (projectId === undefined) throw new DomainError('not_found', { kind, id })
    const subject = kind === 'project' ? projectId : id
    await db.write((trx) => setCeilings(trx, deps, { kind, id: subject, projectId, caps: { micro_usd: body.maxCostMicroUsd, tokens: body.maxTokens }, by: `${principal.kind} ${principal.id}`, correlationId }))
    const budget = (await budgetsOf(db.read, await deps.project(projectId))).find((each) => each.kind === kind && each.id === subject)
    if (!budget) throw new DomainError('not_found', { kind, id })
    return budget
  })
}

/** GET /api/system/model. */
export function registerModelState(http: HttpTarget, provider: string, gateway: Pick<ModelGateway, 'circuits'>): void {
  register(http, showModel, async () => ({
    provider,
    circuits: gateway.circuits().map(({ model, circuit, since }) => ({ model, state: circuit.state, failures: circuit.failures, since, nextTryAt: circuit.state === 'open' ? circuit.openUntil : null })),
  }))
}
