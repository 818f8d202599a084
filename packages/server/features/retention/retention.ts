import type { BlobStore } from '../../blobs.ts'
import type { Duty } from '../../coordinator/duty.ts'
import type { Database } from '../../db/database.ts'
import { planRetention, type PlanDependencies, type RetentionRules } from './plan.ts'
import { removePlanned, type Removed } from './remove.ts'

const DAY_MS = 24 * 60 * 60 * 1000

export interface RetentionDependencies {
  readonly db: Database
  readonly blobs: BlobStore
  readonly now: () => number
  readonly rules: RetentionRules
  readonly pathOf: PlanDependencies['pathOf']
  readonly onRemoved?: (removed: Removed) => void
}

/**
 * Removes what the rules let go: at the start of a server and every day, one small piece a turn. A stop in between loses nothing;
 * the next look finds what is left. Rows and events are never removed.
 */
export function retentionDuty(deps: RetentionDependencies): Duty {
  let dueAt = deps.now()
  let pieces: AsyncGenerator<Removed> | null = null
  return {
    name: 'retention',
    async run(signal) {
      if (pieces === null) {
        if (deps.now() < dueAt) return false
        pieces = removePlanned({ db: deps.db, blobs: deps.blobs, refDays: deps.rules.refDays }, await planRetention({ ...deps, read: deps.db.read }, deps.rules), signal)
      }
      let failed = true
      try {
        const piece = await pieces.next()
        failed = false
        if (piece.done !== true) {
          deps.onRemoved?.(piece.value)
          return true
        }
      } finally {
        if (failed) pieces = null
      }
      pieces = null
      dueAt = deps.now() + DAY_MS
      return false
    },
    nextAt: async () => dueAt,
  }
}
