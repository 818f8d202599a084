import type { Facts, Finding } from './facts.ts'
import type { Replay } from './replay.ts'

/** I9: the state that follows from the events against the rows, field by field. Rows from before `completeSince` may lack events. */
export function compareWithTables(replay: Replay, facts: Facts): Finding[] {
  const findings: Finding[] = []
  const differ = (kind: string, id: string, row: Readonly<Record<string, unknown>>, events: Readonly<Record<string, unknown>> | undefined): void => {
    const wrong = Object.keys(row).filter((field) => events?.[field] !== row[field])
    if (wrong.length === 0) return
    const said = events === undefined ? 'the events know nothing of it' : wrong.map((field) => `${field} is ${show(row[field])} in the table and ${show(events[field])} by the events`).join('; ')
    findings.push({ invariant: 'I9', subject: { kind, id }, message: said, evidence: { table: pick(row, wrong), events: events === undefined ? null : pick(events, wrong) }, repairable: false })
  }
  const gone = (kind: string, known: Iterable<string>, rows: readonly { readonly id: string }[]): void => {
    const there = new Set(rows.map(({ id }) => id))
    for (const id of known) if (!there.has(id)) findings.push({ invariant: 'I9', subject: { kind, id }, message: 'the events tell of it, but it has no row', evidence: {}, repairable: false })
  }

  for (const { id, state, holdReason, fence, attemptCount } of facts.tickets) {
    const replayed = replay.tickets.get(id)
    differ('ticket', id, { state, held: holdReason !== null, fence, attempts: attemptCount }, replayed && { ...replayed })
  }
  for (const { id, state, fence } of facts.attempts) {
    const replayed = replay.attempts.get(id)
    differ('attempt', id, { state, fence }, replayed && { ...replayed })
  }
  for (const { id, state, headSha, mergedSha } of facts.changes) {
    const replayed = replay.changes.get(id)
    differ('change', id, { state, headSha, mergedSha }, replayed && { ...replayed })
  }
  for (const { id, status, usedAt, payloadHash, createdAt } of facts.approvals) {
    const replayed = replay.approvals.get(id)
    const used = createdAt < facts.completeSince ? {} : { used: usedAt !== null }
    differ('approval', id, { status, payloadHash, ...used }, replayed && { ...replayed, used: replayed.uses > 0 })
  }
  for (const { id, state } of facts.sessions) differ('session', id, { state }, replay.sessions.has(id) ? { state: replay.sessions.get(id) } : undefined)
  for (const { id, state } of facts.checks) differ('check', id, { state }, replay.checks.has(id) ? { state: replay.checks.get(id) } : undefined)
  for (const { id, state } of facts.vms) differ('vm', id, { state }, replay.vms.has(id) ? { state: replay.vms.get(id) } : undefined)
  for (const { id, answered } of facts.questions) differ('question', id, { answered }, replay.questions.has(id) ? { answered: replay.questions.get(id) } : undefined)
  for (const { changeId, state, createdAt } of facts.entries) {
    if (createdAt >= facts.completeSince) differ('merge entry', changeId, { state }, replay.entries.has(changeId) ? { state: replay.entries.get(changeId) } : undefined)
  }
  for (const { id, state, costMicroUsd, reservedMicroUsd, createdAt } of facts.calls) {
    if (createdAt < facts.completeSince) continue
    const replayed = replay.calls.get(id)
    differ('call', id, { state, costMicroUsd: costMicroUsd ?? 0, reservedMicroUsd }, replayed && { ...replayed })
  }

  gone('ticket', replay.tickets.keys(), facts.tickets)
  gone('attempt', replay.attempts.keys(), facts.attempts)
  gone('change', replay.changes.keys(), facts.changes)
  gone('approval', replay.approvals.keys(), facts.approvals)
  gone('session', replay.sessions.keys(), facts.sessions)
  gone('check', replay.checks.keys(), facts.checks)
  gone('call', replay.calls.keys(), facts.calls)
  gone('question', replay.questions.keys(), facts.questions)
  gone('vm', replay.vms.keys(), facts.vms)
  return findings
}

const show = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value))

function pick(from: Readonly<Record<string, unknown>>, fields: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(fields.map((field) => [field, from[field] ?? null]))
}
