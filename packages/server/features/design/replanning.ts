import { Plan } from '@swarm/contract/endpoints/design.ts'
import type { Updateable } from 'kysely'
import { fromJson, json } from '../../db/json.ts'
import type { DesignSessionsTable } from '../../db/schema.ts'
import type { Trx } from '../../db/unit.ts'
import { type SessionRow, ticketKeys } from './queries.ts'
import { digestOf, StoredBase } from './stored.ts'
import { moveSession } from './transition.ts'
import { addVersion, requireVersion } from './versions.ts'

export function baseOf(session: Pick<SessionRow, 'base'>): StoredBase | null {
  return session.base === null ? null : fromJson(StoredBase, session.base)
}

/** The base of a change to what is being built; null when nothing is built, or nothing of it is being changed. */
export function builtBase(session: Pick<SessionRow, 'base'>): StoredBase | null {
  const base = baseOf(session)
  return base?.built === true ? base : null
}

/**
 * The plan that the next version starts from: of a session whose tickets exist the plan by which they were made, with what of it
 * is started now; of any other the last plan. None: everything is planned.
 */
export async function baseFor(trx: Trx, session: SessionRow): Promise<Pick<Updateable<DesignSessionsTable>, 'base'>> {
  const before = baseOf(session)
  const tickets = await ticketKeys(trx, session.id)
  const built = tickets.length > 0
  const plan = built && before?.built === true ? before.plan : session.plan === null ? before?.plan ?? null : fromJson(Plan, session.plan)
  if (plan === null) return { base: null }
  const base: StoredBase = { plan, started: tickets.filter(({ started }) => started).map(({ key }) => key), taken: tickets.map(({ key }) => key), built }
  return { base: json(base) }
}

/** Takes a change of what is being built back: the spec is as it was, as a version of its own, and the build goes on. */
export async function takeBack(trx: Trx, session: SessionRow, base: StoredBase, input: { author: string; reason: string; now: number; correlationId: string }): Promise<SessionRow> {
  const { row, stored } = await requireVersion(trx, session, base.plan.specVersion)
  const version = session.spec_version + 1
  await addVersion(trx, {
    sessionId: session.id, version, markdown: row.markdown, spec: stored.spec, revisions: stored.revisions, author: input.author, reason: input.reason === '' ? `as version ${base.plan.specVersion} again` : input.reason, now: input.now,
  })
  const plan = { ...base.plan, specVersion: version }
  return moveSession(trx, session, 'keep', {
    patch: { spec_version: version, title: stored.spec?.title ?? session.title, plan: json(plan), plan_hash: digestOf(plan), base: null, base_sha: plan.baseSha, failure: null },
    reason: input.reason, now: input.now, correlationId: input.correlationId,
  })
}
