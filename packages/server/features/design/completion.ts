import type { Duty } from '../../coordinator/duty.ts'
import type { Database } from '../../db/database.ts'
import { endedBuild } from './queries.ts'
import type { DesignService } from './service.ts'

/** Ends sessions whose tickets are all over: a reaction to what happened to the tickets, found again after a crash. */
export function completionDuty(deps: { db: Database; design: DesignService }): Duty {
  return {
    name: 'session completion',
    run: async () => {
      const session = await endedBuild(deps.db.read)
      return session === undefined ? false : deps.db.write((trx) => deps.design.completeIfDone(trx, session.id, session.correlation_id))
    },
  }
}
