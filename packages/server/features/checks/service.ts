import { CheckResult } from '@swarm/contract/runner-protocol.ts'
import type { CheckPlan } from '@swarm/core/checks/plan.ts'
import { z } from 'zod'
import { fromJson, json } from '../../db/json.ts'
import { signal, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { checkById, insertCheck, moveCheck, passedOn, type CheckRow } from './queries.ts'

/** The column `results`. `reusedFrom`: the run whose pass of the same tree under the same plan this one rests on. */
export const StoredResults = z.object({ results: z.array(CheckResult), reusedFrom: z.string().nullable() })
export type StoredResults = z.infer<typeof StoredResults>

const Text = z.array(z.string())
/** The column `plan`. */
export const StoredPlan = z.object({
  setup: z.string().nullable(), checks: z.array(z.object({ name: z.string(), command: z.string() })),
  image: z.object({ packages: Text, npm: Text, files: z.array(z.object({ path: z.string(), mode: z.number(), blob: z.string() })).default([]) }), setupInputs: Text.exactOptional(), egressAllow: Text,
  limits: z.object({ cpu: z.number(), memoryMb: z.number(), diskMb: z.number(), minutes: z.number(), egressBytes: z.number(), pids: z.number() }),
}) satisfies z.ZodType<CheckPlan>

export type CheckState = 'queued' | 'running' | 'passed' | 'failed' | 'error' | 'cancelled'
export type CheckPurpose = 'attempt' | 'merge' | 'base'

export interface NewCheck {
  readonly projectId: string; readonly repositoryId: string; readonly purpose: CheckPurpose
  readonly attemptId?: string | null; readonly changeId?: string | null; readonly ticketId?: string | null
  readonly commitSha: string; readonly treeSha: string
  /** From `sealPlan`. */
  readonly plan: { readonly text: string; readonly digest: string }
  readonly correlationId: string
}

/** What the other features need of checks; the port is in the changes feature's dependencies. */
export interface CheckQueue {
  /** Queues a run. It has passed at once when this tree has passed this plan before, or when there is nothing to run. */
  enqueue(trx: Trx, check: NewCheck): Promise<{ id: string; state: CheckState }>
  /** Ends a run that nobody waits for any more: its runner is told to stop at its next beat. One that has ended stays as it is. */
  cancel(trx: Trx, id: string, reason: string): Promise<void>
}

export interface CheckQueueDependencies { readonly now: () => number; readonly makeId: (kind: 'check') => string }

export function createCheckQueue(deps: CheckQueueDependencies): CheckQueue {
  return {
    async enqueue(trx, check) {
      const now = deps.now()
      const plan = fromJson(StoredPlan, check.plan.text)
      const before = await passedOn(trx, check.repositoryId, check.treeSha, check.plan.digest)
      const nothing = plan.setup === null && plan.checks.length === 0
      const passed = before !== undefined || nothing
      const results: StoredResults | null = before ? { results: readResults(before).results, reusedFrom: readResults(before).reusedFrom ?? before.id } : nothing ? { results: [], reusedFrom: null } : null
      const row: CheckRow = {
        id: deps.makeId('check'), project_id: check.projectId, repository_id: check.repositoryId, purpose: check.purpose,
        attempt_id: check.attemptId ?? null, change_id: check.changeId ?? null, ticket_id: check.ticketId ?? null,
        commit_sha: check.commitSha, tree_sha: check.treeSha, plan: check.plan.text, plan_digest: check.plan.digest,
        state: passed ? 'passed' : 'queued', fence: 0, tries: 0, runner_id: null, claim_key: null, vm_id: null, lease_expires_at: null, status_sequence: -1,
        results: results === null ? null : json(results), failure: null, correlation_id: check.correlationId, created_at: now, started_at: null, ended_at: passed ? now : null,
      }
      await insertCheck(trx, row)
      await announce(trx, row, row.state, null)
      return { id: row.id, state: row.state as CheckState }
    },

    async cancel(trx, id, reason) {
      const row = await checkById(trx, id)
      if (row && row.ended_at === null) await transition(trx, row, 'cancelled', { failure: reason, lease_expires_at: null, ended_at: deps.now() })
    },
  }
}

export function readResults(row: Pick<CheckRow, 'results'>): StoredResults {
  return row.results === null ? { results: [], reusedFrom: null } : fromJson(StoredResults, row.results)
}

/** The output of the check that failed, for the next attempt; empty when none did. */
export function failedOutput(row: Pick<CheckRow, 'results'>): string {
  const bad = readResults(row).results.find((result) => result.exitCode !== 0 || result.timedOut)
  if (!bad) return ''
  const how = bad.timedOut ? 'ran out of time' : `ended with ${bad.exitCode ?? 'a signal'}`
  return `$ ${bad.command}\n${bad.output.slice(-16_000)}\n[${bad.name} ${how}]`
}

/** The only writer of a run's state after it was queued: compare-and-set, event, wake-up. */
export async function transition(trx: Trx, row: CheckRow, to: CheckState, patch: Parameters<typeof moveCheck>[2]): Promise<boolean> {
  if (!await moveCheck(trx, row, { ...patch, state: to })) return false
  await announce(trx, row, to, patch.failure ?? null)
  return true
}

async function announce(trx: Trx, row: CheckRow, to: string, reason: string | null): Promise<void> {
  await appendEvents(trx, [{
    type: 'check:update', projectId: row.project_id, subject: { kind: 'check', id: row.id }, correlationId: row.correlation_id,
    data: { purpose: row.purpose, to, ticketId: row.ticket_id, attemptId: row.attempt_id, changeId: row.change_id, commitSha: row.commit_sha, reason },
  }])
  signal(trx, 'work')
}
