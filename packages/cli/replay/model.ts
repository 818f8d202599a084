import { compareRequests, type Difference } from './compare.ts'

/** A recorded model call: the bodies as they were. */
export interface Exchange { readonly callId: string; readonly request: string; readonly response: string }

export interface Divergence extends Difference { /** Counted from 1. */ readonly turn: number }

export interface ModelReport {
  /** Recorded calls; requests that the replay made. */
  readonly recorded: number; readonly asked: number
  readonly same: number
  /** Different only in durations and the like. */
  readonly alike: number
  readonly different: number
  /** The first ones. */
  readonly divergences: readonly Divergence[]
  /** It came to the call that was never answered then (cut, refused, over the budget), and got no answer either: all there is was replayed. */
  readonly endedUnanswered: boolean
}

const MOST_DIVERGENCES = 20

/**
 * A model that answers the n-th request with the n-th recorded answer, and notes where the requests differ. It costs nothing.
 * @param unanswered how many calls of the original got no answer that it went on with
 */
export function createReplayModel(exchanges: readonly Exchange[], unanswered: number) {
  let asked = 0
  let endedUnanswered = false
  const counts = { same: 0, alike: 0, different: 0 }
  const divergences: Divergence[] = []
  return {
    /** Status, type and body of the answer to a request's body. */
    answer(body: string): { status: number; type: string; body: string } {
      const request = JSON.parse(body) as unknown
      const exchange = exchanges[asked]
      const turn = ++asked
      if (!exchange) {
        if (unanswered > 0 && turn === exchanges.length + 1) endedUnanswered = true
        else if (divergences.length < MOST_DIVERGENCES) divergences.push({ turn, path: '$', recorded: '(nothing: the recording is over)', replayed: `request ${turn}` })
        return { status: 400, type: 'application/json', body: JSON.stringify({ type: 'error', error: { type: 'invalid_request_error', message: `the recording is over: it holds ${exchanges.length} answers` } }) }
      }
      const recorded = JSON.parse(exchange.request) as { stream?: boolean }
      const result = compareRequests(recorded, request)
      counts[result.kind]++
      if (result.kind === 'different' && divergences.length < MOST_DIVERGENCES) divergences.push({ turn, ...result.difference })
      return { status: 200, type: recorded.stream === true ? 'text/event-stream' : 'application/json', body: exchange.response }
    },
    report: (): ModelReport => ({ recorded: exchanges.length, asked, ...counts, divergences, endedUnanswered }),
  }
}
export type ReplayModel = ReturnType<typeof createReplayModel>
