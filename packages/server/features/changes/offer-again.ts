import { DomainError } from '@swarm/core/errors.ts'
import type { Trx } from '../../db/unit.ts'
import type { ChangeDependencies } from './dependencies.ts'
import { cancelEntry } from './merge-entries.ts'
import { entryOf } from './merge-queries.ts'
import { changeById } from './queries.ts'

/**
 * Asks again for the merge of a ticket's open change with exactly this head: by the approval that is still open, or a new
 * one, since an earlier decision is not used again. Its old place in the merge queue is given up. False when there is no such change.
 */
export function offerAgain(deps: ChangeDependencies) {
  return async (trx: Trx, input: { ticketId: string; headSha: string; correlationId: string }): Promise<boolean> => {
    const change = await changeById(trx, input.ticketId)
    if (!change || change.state !== 'open' || change.head_sha !== input.headSha) return false
    const entry = await entryOf(trx, change.id)
    // Its batch may be landing at this moment: the queue takes a member that is held out by itself, or records its merge.
    if (entry?.state === 'checking') throw new DomainError('change_not_open', { changeId: change.id, state: 'being settled by the merge queue; try again in a moment', headSha: change.head_sha })
    if (entry?.state === 'queued') {
      if (!await cancelEntry(trx, deps, entry, 'it was held, and is offered again')) throw new DomainError('illegal_transition', { kind: 'merge entry', id: change.id, from: entry.state, to: 'cancelled' })
    }
    return await deps.reviews.offerAgain(trx, { changeId: change.id, headSha: change.head_sha, projectId: change.project_id, correlationId: input.correlationId })
  }
}
