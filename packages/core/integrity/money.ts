import type { CallFact, Facts, Finding, ServedFact } from './facts.ts'

/** I7: recorded is never less than served, and equal where the answer came whole; a call never costs more than was set aside. */
export function moneyIsRight(facts: Facts): Finding[] {
  const findings: Finding[] = []
  const report = (id: string, message: string, evidence: Record<string, unknown>): void => { findings.push({ invariant: 'I7', subject: { kind: 'call', id }, message, evidence, repairable: false }) }
  for (const call of facts.calls) {
    if (call.state === 'settled' && (call.costMicroUsd ?? 0) > call.reservedMicroUsd) report(call.id, `it cost ${call.costMicroUsd ?? 0} micro-dollars; ${call.reservedMicroUsd} were set aside for it`, { costMicroUsd: call.costMicroUsd, reservedMicroUsd: call.reservedMicroUsd })
  }
  const calls = new Map(facts.calls.map((call) => [call.id, call]))
  for (const served of facts.served ?? []) {
    const call = calls.get(served.callId)
    if (served.callId === '') {
      if (served.answers > 0) report('(none)', `the model served ${served.answers} answers past the gateway, without the id of a call`, { served })
    } else if (!call) report(served.callId, 'the model served it, and it is not on record', { served })
    else compare(call, served, (message) => { report(call.id, message, { recorded: recordedOf(call), served }) })
  }
  return findings
}

const recordedOf = ({ state, estimated, costMicroUsd, reservedMicroUsd, inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens }: CallFact): object => ({ state, estimated, costMicroUsd, reservedMicroUsd, inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens })

const TOKENS = ['inputTokens', 'outputTokens', 'cacheReadTokens', 'cacheWriteTokens'] as const

function compare(call: CallFact, served: ServedFact, report: (message: string) => void): void {
  if (served.answers === 0) return
  // While it is open, or where its usage is not known, the reservation stands for it.
  const recorded = call.state === 'open' ? call.reservedMicroUsd : call.costMicroUsd ?? 0
  if (served.costMicroUsd !== null && recorded < served.costMicroUsd) report(`${recorded} micro-dollars are recorded; the model served ${served.costMicroUsd}`)
  if (call.state !== 'settled' || call.estimated) return
  const less = TOKENS.filter((field) => (call[field] ?? 0) < served[field])
  if (less.length > 0) report(`fewer tokens are recorded than were served (${less.join(', ')})`)
  const more = TOKENS.filter((field) => (call[field] ?? 0) > served[field])
  if (served.complete && more.length > 0) report(`more tokens are recorded than were served in a complete answer (${more.join(', ')})`)
}
