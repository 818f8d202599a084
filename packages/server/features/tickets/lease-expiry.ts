import { AgentLimits } from '@swarm/contract/agent-protocol.ts'
import type { AgentDefinition } from '@swarm/contract/endpoints/agents.ts'
import type { Kysely } from 'kysely'
import type { Duty } from '../../coordinator/duty.ts'
import type { Database } from '../../db/database.ts'
import type { Schema } from '../../db/schema.ts'
import { appendEvents } from '../../events/events.ts'
import type { WorkSource } from '../../ports.ts'
import { earliestLeaseEnd, earliestRetry } from './queries.ts'
import type { AttemptRow } from './queries.ts'

/** Ends the leases of attempts that ran out: the runner is dead, paused or cut off, and the ticket goes on without it. */
export function leaseExpiryDuty(deps: { db: Database; source: WorkSource<unknown>; now: () => number }): Duty {
  return {
    name: 'lease expiry',
    run: async () => (await deps.db.write((trx) => deps.source.expire(trx, deps.now()))) > 0,
    nextAt: async () => {
      const at = await earliestLeaseEnd(deps.db.read)
      // Just after it: at the very moment the lease still holds.
      return at === null ? null : at + 1
    },
  }
}

/** When the next ticket that waits for its retry may be claimed, ms since the epoch. */
export async function nextRetryAt(db: Database, now: number): Promise<number | null> {
  return earliestRetry(db.read, now)
}

/** An agent whose model call is still open is looked at again after this time, ms. */
const LOOK_AGAIN_MS = 10_000

/**
 * The clock of progress: an agent that has shown nothing for its limit is told to stop; its runner saves the work and fails
 * the attempt (class agent, reason `stalled`). Only the agent's own step is timed, and a model call in flight is progress:
 * one that the ledger holds open here, one that waits for its turn or for a provider by what the runner sees (heartbeat).
 */
export function stalledAgentsDuty(deps: { db: Database; now: () => number; stallMs: number; agentDefinition(name: string, version: number): Promise<AgentDefinition> }): Duty {
  const { db, now } = deps
  const deadline = async (attempt: AttemptRow): Promise<number> => {
    const { stallMinutes } = AgentLimits.parse((await deps.agentDefinition(attempt.agent_name, attempt.agent_version)).limits)
    return (attempt.activity_at ?? attempt.created_at) + (stallMinutes === undefined ? deps.stallMs : stallMinutes * 60_000)
  }
  return {
    name: 'stalled agents',
    async run() {
      for (const attempt of await workingAgents(db.read)) {
        if (await deadline(attempt) >= now() || await hasOpenCall(db.read, attempt.id)) continue
        const stopped = await db.write(async (trx) => {
          const result = await trx.updateTable('attempts').set({ stop_code: 'stalled', stop_reason: 'stalled' })
            .where('id', '=', attempt.id).where('fence', '=', attempt.fence).where('state', '=', 'running').where('stop_code', 'is', null).where('activity_at', '=', attempt.activity_at).executeTakeFirst()
          if (result.numUpdatedRows !== 1n) return false
          await appendEvents(trx, [{
            type: 'ticket:progress', projectId: attempt.project_id, subject: { kind: 'ticket', id: attempt.ticket_id }, correlationId: attempt.correlation_id,
            data: { attemptId: attempt.id, fence: attempt.fence, stopCode: 'stalled', idleMs: now() - (attempt.activity_at ?? attempt.created_at) },
          }])
          return true
        })
        if (stopped) return true
      }
      return false
    },
    async nextAt() {
      const next = Math.min(...await Promise.all((await workingAgents(db.read)).map(deadline)))
      if (next === Infinity) return null
      return next >= now() ? next + 1 : now() + LOOK_AGAIN_MS
    },
  }
}

/** Attempts whose agent runs now and was not told to stop. */
async function workingAgents(db: Kysely<Schema>): Promise<AttemptRow[]> {
  return db.selectFrom('attempts').selectAll('attempts').where('attempts.state', '=', 'running').where('attempts.stop_code', 'is', null)
    .where((eb) => eb.exists(eb.selectFrom('attempt_steps').select('attempt_steps.step').whereRef('attempt_steps.attempt_id', '=', 'attempts.id')
      .whereRef('attempt_steps.fence', '=', 'attempts.fence').where('attempt_steps.step', '=', 'agent').where('attempt_steps.state', '=', 'started'))).execute()
}

async function hasOpenCall(db: Kysely<Schema>, attemptId: string): Promise<boolean> {
  return await db.selectFrom('model_calls').select('id').where('attempt_id', '=', attemptId).where('state', '=', 'open').executeTakeFirst() !== undefined
}
