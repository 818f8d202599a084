import { BuildEstimate, type BuildPayload, type Plan } from '@swarm/contract/endpoints/design.ts'
import { basisOf, calibrationOf, compared, estimateBuild, LEAST_HISTORY } from '@swarm/core/design/estimate.ts'
import { z } from 'zod'
import { fromJson, json } from '../../db/json.ts'
import type { Trx } from '../../db/unit.ts'
import { comparisons, estimatesOf, insertEstimate, setComparison, spentOnTickets, ticketRecords } from './history-queries.ts'
import type { SessionRow } from './queries.ts'

const Factor = z.number().nullable()
/** `build_estimates.comparison` and `.spent_before`. */
export const StoredComparison = z.object({ tokens: Factor, microUsd: Factor, elapsedMs: Factor })
const StoredSpent = z.object({ tokens: z.number(), microUsd: z.number() })

/** What starting the build, or a change of one, means: computed from the plan, from finished tickets and from earlier builds. */
export async function buildPayload(trx: Trx, session: SessionRow, plan: Plan, concurrency: number): Promise<BuildPayload> {
  // What is started or done already is no part of what is still to come.
  const started = new Set(plan.change?.started)
  const project = await ticketRecords(trx, { projectId: session.project_id, provider: session.model_label })
  const installation = project.length >= LEAST_HISTORY ? [] : await ticketRecords(trx, { provider: session.model_label })
  const estimate = estimateBuild(plan.tickets.filter(({ key }) => !started.has(key)), basisOf(project, installation), concurrency)
  return {
    ...BuildEstimate.parse(estimate), sessionId: session.id, title: session.title, specVersion: session.spec_version, planHash: session.plan_hash ?? '', modelLabel: session.model_label, maxCostMicroUsd: session.max_cost_micro_usd,
    concurrency, calibration: calibrationOf((await comparisons(trx, session.model_label)).map((row) => fromJson(StoredComparison, row))), change: plan.change,
  }
}

/** Keeps what was expected of a build that is confirmed, so that it can be held against what came. */
export async function keepEstimate(trx: Trx, session: SessionRow, payload: unknown, now: number): Promise<void> {
  const estimate = BuildEstimate.safeParse(payload)
  // Asked for by a version of Swarm that computed less: there is nothing to hold the build against.
  if (!estimate.success) return
  await insertEstimate(trx, {
    session_id: session.id, spec_version: session.spec_version, project_id: session.project_id, model_label: session.model_label,
    estimate: json(estimate.data), spent_before: json(await spentOnTickets(trx, session.id)), comparison: null, confirmed_at: now, compared_at: null,
  })
}

/** The build is complete: what it took, as factors of what was expected when it was confirmed last. */
export async function compareEstimate(trx: Trx, session: SessionRow, now: number): Promise<void> {
  const last = (await estimatesOf(trx, session.id)).at(-1)
  if (last === undefined || last.compared_at !== null) return
  const [before, after] = [fromJson(StoredSpent, last.spent_before), await spentOnTickets(trx, session.id)]
  const actual = { tokens: after.tokens - before.tokens, microUsd: after.microUsd - before.microUsd, elapsedMs: now - last.confirmed_at }
  await setComparison(trx, last, json(compared(fromJson(BuildEstimate, last.estimate), actual)), now)
}
