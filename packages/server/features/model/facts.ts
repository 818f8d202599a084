import type { ModelFacts } from '../../ports.ts'
import { whyBudget } from './breach.ts'
import type { ModelGateway } from './gateway.ts'
import { lastCallOf } from './queries.ts'
import { RETRIED } from './upstream.ts'

/** What the records say about an attempt that failed for want of a model or of money (ports.ts). */
export function modelFacts(gateway: Pick<ModelGateway, 'nextTryAt'>, now: () => number): ModelFacts {
  return async (trx, attemptId, failureClass) => {
    if (failureClass === 'budget') return { holdReason: await whyBudget(trx, attemptId) ?? undefined }
    if (failureClass !== 'model') return {}
    const call = await lastCallOf(trx, attemptId)
    // The call that ended the attempt was refused as often as it may be, or not made at all: the API is overloaded.
    if (call?.state !== 'settled' || call.status === null || !RETRIED.has(call.status)) return {}
    return { overload: { untilAskedMs: Math.max(0, gateway.nextTryAt(call.model) - now()) } }
  }
}
