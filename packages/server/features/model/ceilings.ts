import { ProjectSettings } from '@swarm/contract/endpoints/projects.ts'
import { BUDGET_UNITS, thresholdsReached, type BudgetUnit, type Ceiling, type CeilingKind } from '@swarm/core/budgets/reserve.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { fromJson } from '../../db/json.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents, type NewEvent } from '../../events/events.ts'
import { fixCeiling, markThreshold, projectSettings, sessionCeiling, spending, storedCeilings, type StoredKind } from './queries.ts'

/** On whose account a call is: what its ceilings are found by. */
export interface Account { readonly projectId: string; readonly sessionId: string | null; readonly ticketId: string | null; readonly attemptId: string | null; readonly correlationId: string }

/** What names a ceiling, in the rows of the calls that it refused. */
export function keyOf(ceiling: Pick<Ceiling, 'kind' | 'id' | 'unit'>): string {
  return `${ceiling.kind}/${ceiling.id}/${ceiling.unit}`
}

export interface Cap { readonly kind: CeilingKind; readonly id: string; readonly unit: BudgetUnit; readonly cap: number }

/**
 * The ceilings that hold for an account, from the narrowest to the widest. Locks the rows of the session and then of the
 * project on PostgreSQL, so that all who decide under one ceiling do it one after the other.
 * @throws DomainError not_found
 */
export async function capsOf(trx: Trx, account: Account): Promise<Cap[]> {
  const sessionCap = account.sessionId === null ? null : await sessionCeiling(trx, account.sessionId)
  if (sessionCap === undefined) throw new DomainError('not_found', { kind: 'session', id: account.sessionId })
  const text = await projectSettings(trx, account.projectId)
  if (text === undefined) throw new DomainError('not_found', { kind: 'project', id: account.projectId })
  const settings = fromJson(ProjectSettings, text)
  const subjects = ([['attempt', account.attemptId], ['ticket', account.ticketId], ['session', account.sessionId]] as const).flatMap(([kind, id]) => id === null ? [] : [{ kind, id }])
  const stored = await storedCeilings(trx, subjects)
  const at = (kind: CeilingKind, id: string | null, unit: BudgetUnit, otherwise: number | null): Cap[] => {
    if (id === null) return []
    const cap = stored.find((each) => each.kind === kind && each.id === id && each.unit === unit)?.cap ?? otherwise
    return cap === null ? [] : [{ kind, id, unit, cap }]
  }
  return [
    ...at('attempt', account.attemptId, 'micro_usd', null), ...at('attempt', account.attemptId, 'tokens', null),
    ...at('ticket', account.ticketId, 'micro_usd', settings.ticketMaxCostMicroUsd), ...at('ticket', account.ticketId, 'tokens', settings.ticketMaxTokens),
    ...at('session', account.sessionId, 'micro_usd', sessionCap), ...at('session', account.sessionId, 'tokens', null),
    ...at('project', account.projectId, 'micro_usd', settings.maxCostMicroUsd), ...at('project', account.projectId, 'tokens', settings.maxTokens),
  ]
}

/** The same with what was spent and what is set aside under each. */
export async function ceilingsOf(trx: Trx, account: Account): Promise<Ceiling[]> {
  const ceilings: Ceiling[] = []
  const known = new Map<string, Awaited<ReturnType<typeof spending>>>()
  for (const cap of await capsOf(trx, account)) {
    const amounts = known.get(cap.kind) ?? await spending(trx, cap.kind, cap.id)
    known.set(cap.kind, amounts)
    ceilings.push({ ...cap, ...amounts[cap.unit] })
  }
  return ceilings
}

/** Tells people, once per part and value of a ceiling, in the transaction in which it was reached. */
export async function tellThresholds(trx: Trx, account: Account, ceilings: readonly Ceiling[], reached: (ceiling: Ceiling) => readonly number[] = thresholdsReached): Promise<void> {
  const events: NewEvent[] = []
  for (const ceiling of ceilings) {
    for (const percent of reached(ceiling)) {
      const { kind, id, unit, cap } = ceiling
      if (!await markThreshold(trx, { kind, id, unit, cap, percent, at: Date.now() })) continue
      events.push({
        type: 'budget:threshold', projectId: account.projectId, subject: { kind, id }, correlationId: account.correlationId,
        data: { ceiling: kind, ceilingId: id, unit, cap, spent: ceiling.spent, percent, sessionId: account.sessionId, ticketId: account.ticketId, attemptId: account.attemptId },
      })
    }
  }
  await appendEvents(trx, events)
}

/**
 * Fixes what one attempt may use: what a person raised for its ticket, else the lowest of what the agent, the base's swarm.yml
 * and the project say. Repeating it changes nothing.
 * @param usd what agent and swarm.yml say, dollars
 */
export async function fixAttemptCeilings(trx: Trx, attempt: { id: string; ticketId: string; projectId: string; correlationId: string }, usd: readonly (number | null)[]): Promise<void> {
  const text = await projectSettings(trx, attempt.projectId)
  if (text === undefined) throw new DomainError('not_found', { kind: 'project', id: attempt.projectId })
  const settings = fromJson(ProjectSettings, text)
  const subjects: { kind: StoredKind; id: string }[] = [{ kind: 'attempt', id: attempt.id }, { kind: 'ticket_attempts', id: attempt.ticketId }]
  const stored = await storedCeilings(trx, subjects)
  const now = Date.now()
  for (const unit of BUDGET_UNITS) {
    if (stored.some((each) => each.kind === 'attempt' && each.unit === unit)) continue
    const raised = stored.find((each) => each.kind === 'ticket_attempts' && each.unit === unit)?.cap
    const given = (unit === 'tokens' ? [settings.attemptMaxTokens] : [...usd.map(microUsdOf), settings.attemptMaxCostMicroUsd]).filter((cap) => cap !== null)
    const cap = raised ?? (given.length === 0 ? null : Math.min(...given))
    if (cap === null) continue
    await fixCeiling(trx, { kind: 'attempt', id: attempt.id, unit, cap, now })
    await appendEvents(trx, [{
      type: 'budget:set', projectId: attempt.projectId, subject: { kind: 'ticket', id: attempt.ticketId }, correlationId: attempt.correlationId,
      data: { ceiling: 'attempt', ceilingId: attempt.id, unit, cap, ticketId: attempt.ticketId, by: 'swarm' },
    }])
  }
}

function microUsdOf(usd: number | null): number | null {
  return usd === null ? null : Math.round(usd * 1_000_000)
}
