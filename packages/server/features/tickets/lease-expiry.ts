import type { Database } from '../../db/database.ts'
import type { Duty } from '../../coordinator/duty.ts'
import type { WorkSource } from '../../ports.ts'
import { earliestLeaseEnd, earliestRetry } from './queries.ts'

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
