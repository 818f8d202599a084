import { listChecks, showCheck, type CheckRun } from '@swarm/contract/endpoints/checks.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Duty } from '../../coordinator/duty.ts'
import type { Database } from '../../db/database.ts'
import type { Trx } from '../../db/unit.ts'
import { fromJson } from '../../db/json.ts'
import { byCreation, page, readPosition } from '../../http/pages.ts'
import { register, type HttpTarget } from '../../http/register.ts'
import type { CheckSource } from '../../ports.ts'
import { checkById, checksOf, nextCheckTime, type CheckRow } from './queries.ts'
import { createCheckQueue, readResults, StoredPlan, type CheckQueue, type CheckQueueDependencies } from './service.ts'
import { createCheckSource, type CheckSourceDependencies } from './source.ts'

export interface Checks {
  readonly queue: CheckQueue; readonly source: CheckSource; readonly duties: readonly Duty[]
  /** Ticket and project of a run, for the list of microVMs. */
  about(trx: Trx, checkId: string): Promise<{ ticketId: string | null; projectId: string }>
}

/** Check runs: queued by the changes feature, carried out by runners. Registers its routes. */
export function createChecks(context: { readonly http: HttpTarget; readonly db: Database }, deps: CheckQueueDependencies & Omit<CheckSourceDependencies, 'db'>): Checks {
  const { http, db } = context
  const source = createCheckSource({ ...deps, db })

  register(http, listChecks, async ({ query, projects }) => {
    return page(await checksOf(db.read, { ...query, projects: await projects() }, readPosition(query.cursor), query.limit + 1), query.limit, present, byCreation)
  })
  register(http, showCheck, async ({ params }) => {
    const row = await checkById(db.read, params.checkId)
    if (!row) throw new DomainError('not_found', { kind: 'check', id: params.checkId })
    return { ...present(row), results: readResults(row).results }
  })

  const expiry: Duty = {
    name: 'check lease expiry',
    run: async () => (await db.write((trx) => source.expire(trx, deps.now()))) > 0,
    nextAt: async () => {
      const at = await nextCheckTime(db.read)
      return at === null ? null : at + 1
    },
  }
  return {
    queue: createCheckQueue(deps), source, duties: [expiry],
    async about(trx, checkId) {
      const row = await checkById(trx, checkId)
      if (!row) throw new DomainError('not_found', { kind: 'check', id: checkId })
      return { ticketId: row.ticket_id, projectId: row.project_id }
    },
  }
}

function present(row: CheckRow): CheckRun {
  const plan = fromJson(StoredPlan, row.plan)
  return {
    id: row.id, projectId: row.project_id, repositoryId: row.repository_id, purpose: row.purpose as CheckRun['purpose'], attemptId: row.attempt_id, changeId: row.change_id, ticketId: row.ticket_id,
    commitSha: row.commit_sha, treeSha: row.tree_sha, planDigest: row.plan_digest, state: row.state as CheckRun['state'], tries: row.tries, vmId: row.vm_id, failure: row.failure,
    reusedFrom: readResults(row).reusedFrom, setup: plan.setup, checks: plan.checks, createdAt: row.created_at, startedAt: row.started_at, endedAt: row.ended_at,
  }
}
