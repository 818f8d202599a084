import { requestTokens, type DesignRequest } from '@swarm/core/design/chunks.ts'
import { againRequest } from '@swarm/core/design/requests.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { z } from 'zod'
import type { Database } from '../../db/database.ts'
import { fromJson, json } from '../../db/json.ts'
import { appendEvents } from '../../events/events.ts'
import { submitted } from '../../model-answer.ts'
import { insertStep, type SessionRow, stepAnswer, unbookedStepCost } from './queries.ts'
import { digestOf, StoredAnswer } from './stored.ts'

/** Asks the model, or the journal when this very request was answered before. */
export type Ask = <T extends z.ZodType>(step: string, request: DesignRequest, schema: T) => Promise<z.output<T>>

/** A Messages API request, without streaming. */
export type MessagesRequest = DesignRequest & { readonly model: string }

/**
 * One call of the model through the gateway, which reserves, retries, settles and records it. Resolves with the Messages API
 * response; what is not one is dealt with by the caller.
 */
export type CallModel = (request: MessagesRequest, context: { role: 'designer'; step: string; projectId: string; sessionId: string; correlationId: string; signal: AbortSignal }) => Promise<unknown>

export interface StepDependencies {
  readonly db: Database
  readonly now: () => number
  readonly callModel: CallModel
  readonly model: string
}

/**
 * Asks for one step through the journal: an answer is written down, keyed by (session, step, digest of the request), before it
 * is used, so a step that was answered is never paid again. An answer that cannot be used is asked for once more, with the
 * reason; both are journaled.
 * @throws DomainError design_answer_malformed {step, problem}; what the gateway throws; the signal's reason
 */
export function journaledAsk(deps: StepDependencies, session: SessionRow, signal: AbortSignal): Ask {
  return async <T extends z.ZodType>(step: string, request: DesignRequest, schema: T): Promise<z.output<T>> => {
    const first = submitted(await answerOf(deps, session, step, request, schema, signal), schema)
    if (first.ok) return first.value
    const again = againRequest(request, first.problem, session.token_cap)
    const second = submitted(await answerOf(deps, session, step, again, schema, signal), schema)
    if (second.ok) return second.value
    throw new DomainError('design_answer_malformed', { step, problem: second.problem })
  }
}

async function answerOf(deps: StepDependencies, session: SessionRow, step: string, request: DesignRequest, schema: z.ZodType, signal: AbortSignal): Promise<unknown> {
  signal.throwIfAborted()
  const estimated = requestTokens(request)
  if (estimated > session.token_cap) throw new DomainError('token_cap_too_small', { cap: session.token_cap, needed: estimated, what: `step ${step}` })
  const full: MessagesRequest = { model: deps.model, ...request }
  const digest = digestOf(full)
  const known = await stepAnswer(deps.db.read, session.id, step, digest)
  if (known) return fromJson(StoredAnswer, known.response).response
  const response = await deps.callModel(full, { role: 'designer', step, projectId: session.project_id, sessionId: session.id, correlationId: session.correlation_id, signal })
  const usable = submitted(response, schema).ok
  await deps.db.write(async (trx) => {
    await insertStep(trx, {
      session_id: session.id, step, request_digest: digest, response: json({ usable, response: response ?? null }),
      cost_micro_usd: await unbookedStepCost(trx, session.id, step), created_at: deps.now(),
    })
    await appendEvents(trx, [{
      type: 'session:update', projectId: session.project_id, subject: { kind: 'session', id: session.id }, correlationId: session.correlation_id,
      data: { sessionId: session.id, state: session.state, step, usable },
    }])
  })
  return response
}
