import type { ProjectSettings } from '@swarm/contract/endpoints/projects.ts'
import type { CheckWork, Stop } from '@swarm/contract/runner-protocol.ts'
import { CheckResult } from '@swarm/contract/runner-protocol.ts'
import { tightestLimits } from '@swarm/core/checks/limits.ts'
import { planPassed } from '@swarm/core/checks/plan.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Database } from '../../db/database.ts'
import { fromJson, json } from '../../db/json.ts'
import type { Schema } from '../../db/schema.ts'
import { signal, type Trx } from '../../db/unit.ts'
import { mintToken } from '../../http/tokens.ts'
import type { CheckSource, WorkInputs } from '../../ports.ts'
import { checkById, expiredChecks, heldBy, moveCheck, nextQueued, releaseDueChecks, runningOf, type CheckRow } from './queries.ts'
import { StoredPlan, transition } from './service.ts'

export interface CheckSourceDependencies {
  readonly db: Database
  readonly now: () => number
  readonly leaseTtlMs: number
  readonly beatMs: number
  /** Points refs/swarm/checks/<check> at the commit. */
  readonly setRef: (repositoryId: string, ref: string, sha: string) => Promise<void>
  readonly inputs: WorkInputs
  readonly place: (repositoryId: string) => Promise<{ projectSlug: string; repositorySlug: string; settings: Pick<ProjectSettings, 'egressAllow' | 'vm'> }>
}

/** Tries of one run before it is given up: faults of runners and microVMs, never a red result. */
const MAX_TRIES = 5
const FIRST_DELAY_MS = 1_000
const MAX_DELAY_MS = 300_000
/** Of one check, as read in the microVM; its last part is kept. */
const CHECK_OUTPUT_BYTES = 16 * 1024 * 1024
/** Kept per check in the row; what the runner sends is the tail already. */
const MAX_OUTPUT_CHARS = 65_536
/** Expired leases handled in one unit. */
const BATCH = 50

/** Check runs as work for runners (ports.ts). */
export function createCheckSource(deps: CheckSourceDependencies): CheckSource {
  const { db } = deps

  /** Back into the queue after a fault that says nothing about the commit; given up after five tries. */
  async function again(trx: Trx, row: CheckRow, reason: string): Promise<void> {
    const now = deps.now()
    const free = { runner_id: null, claim_key: null, vm_id: null, failure: reason }
    if (row.tries >= MAX_TRIES) await transition(trx, row, 'error', { ...free, lease_expires_at: null, ended_at: now })
    else await transition(trx, row, 'queued', { ...free, lease_expires_at: now + Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (row.tries - 1)) })
  }
  /** The run when this runner holds it under this fence; the outcome it already has when it was reported before. */
  async function held(trx: Trx, runnerId: string, id: string, fence: number): Promise<CheckRow> {
    const row = await checkById(trx, id)
    if (!row || row.fence !== fence || row.runner_id !== runnerId || (row.state !== 'running' && row.ended_at === null)) throw new DomainError('stale_fence', { attemptId: id, fence })
    return row
  }

  /** Runners that wait are woken when the delay of a retry is over. */
  async function releaseDue(trx: Trx, now: number): Promise<number> {
    const due = await releaseDueChecks(trx, now)
    if (due > 0) signal(trx, 'work')
    return due
  }

  return {
    async claim(trx, runner, claimKey) {
      const mine = await heldBy(trx, runner.id, claimKey)
      if (mine) return { id: mine.id, fence: mine.fence }
      if (!runner.takesNew) return null
      const now = deps.now()
      const next = await nextQueued(trx, now)
      if (!next) return null
      const fence = next.fence + 1
      const taken = await transition(trx, next, 'running', {
        fence, tries: next.tries + 1, runner_id: runner.id, claim_key: claimKey, vm_id: null, lease_expires_at: now + deps.leaseTtlMs, started_at: now, status_sequence: -1,
      })
      return taken ? { id: next.id, fence } : null
    },

    async describe(id, fence): Promise<CheckWork> {
      const row = await checkById(db.read, id)
      if (!row || row.fence !== fence || row.state !== 'running') throw new DomainError('stale_fence', { attemptId: id, fence })
      const plan = fromJson(StoredPlan, row.plan)
      const place = await deps.place(row.repository_id)
      await deps.setRef(row.repository_id, `refs/swarm/checks/${id}`, row.commit_sha)
      const limits = tightestLimits({ ...plan.limits, outputBytes: CHECK_OUTPUT_BYTES }, plan.limits, { outputBytes: CHECK_OUTPUT_BYTES }, place.settings.vm)
      const expiresAt = deps.now() + limits.minutes * 60_000 + deps.leaseTtlMs
      const { token } = await db.write((trx) => mintToken(trx, { kind: 'check', subjectId: id, fence, expiresAt }))
      return {
        kind: 'check', checkId: id, fence, leaseTtlMs: deps.leaseTtlMs, beatMs: deps.beatMs, token, correlationId: row.correlation_id,
        projectSlug: place.projectSlug, repositorySlug: place.repositorySlug, limits, egressAllow: [...place.settings.egressAllow],
        image: await deps.inputs.image(row.repository_id, plan.image), setup: plan.setup, layer: await deps.inputs.layer(row.repository_id, { commit: row.commit_sha }, plan), commitSha: row.commit_sha, checks: plan.checks,
      }
    },

    async heartbeat(trx, runnerId, holding) {
      const stop: Stop[] = []
      for (const item of holding) {
        const row = await checkById(trx, item.id)
        // A lease that is over is not renewed, even when nobody has taken the run away yet.
        const holds = row?.runner_id === runnerId && (row.lease_expires_at ?? 0) >= deps.now()
        const renewed = holds && await moveCheck(trx, { id: item.id, state: 'running', fence: item.fence }, { lease_expires_at: deps.now() + deps.leaseTtlMs, ...(item.vmId === null ? {} : { vm_id: item.vmId }) })
        if (!renewed) stop.push({ id: item.id, code: 'lost', reason: 'the lease is gone' })
      }
      return stop
    },

    async reconcile(trx, runnerId) {
      for (const row of await runningOf(trx, runnerId)) await again(trx, row, 'the runner restarted and no longer holds it')
    },

    async expire(trx, now) {
      const rows = await expiredChecks(trx, now, BATCH)
      for (const row of rows) await again(trx, row, 'the runner was not heard from within the lease')
      return rows.length + await releaseDue(trx, now)
    },

    async recordStatus(trx, runnerId, report) {
      const row = await held(trx, runnerId, report.id, report.fence)
      if (row.state !== 'running') throw new DomainError('stale_fence', { attemptId: report.id, fence: report.fence })
      if (report.sequence <= row.status_sequence) return false
      return moveCheck(trx, row, { status_sequence: report.sequence, ...(report.vmId === undefined ? {} : { vm_id: report.vmId }) })
    },

    async complete(trx, runnerId, input) {
      const row = await held(trx, runnerId, input.id, input.fence)
      if (row.state !== 'running') return
      const results = z.array(CheckResult).parse(input.results).map((result) => ({ ...result, output: result.output.slice(-MAX_OUTPUT_CHARS) }))
      const passed = input.passed && planPassed(fromJson(StoredPlan, row.plan), results)
      await transition(trx, row, passed ? 'passed' : 'failed', { results: json({ results, reusedFrom: null }), failure: null, ended_at: deps.now(), lease_expires_at: null })
    },

    async fail(trx, runnerId, input) {
      const row = await held(trx, runnerId, input.id, input.fence)
      if (row.state === 'running') await again(trx, row, `${input.reason}: ${input.message}`.slice(0, 4_000))
    },
  }
}

/** Project of a run that this runner holds under this fence, with a lease that is not over. @throws stale_fence */
export async function projectOfHeldCheck(db: Kysely<Schema>, runnerId: string, key: { id: string; fence: number }, now: number): Promise<string> {
  const row = await checkById(db, key.id)
  if (!row || row.fence !== key.fence || row.runner_id !== runnerId || row.state !== 'running' || (row.lease_expires_at ?? 0) < now) throw new DomainError('stale_fence', { attemptId: key.id, fence: key.fence })
  return row.project_id
}
