import type { EventFact, Finding } from './facts.ts'

/*
 * The event log, folded: the state that follows from the events alone, and what an event says that cannot be. Pure, one
 * event at a time, so that a log of any length is read in pages.
 */

export interface ReplayedTicket {
  state: string; held: boolean; fence: number; attempts: number
  /** Attempts of it that a runner holds. */
  readonly running: Set<string>
  /** Whether it was ever claimed, and ever merged. */
  claimed: boolean; done: boolean
}
export interface ReplayedAttempt { ticketId: string; state: string; fence: number }
export interface ReplayedCall {
  state: string; reservedMicroUsd: number; costMicroUsd: number; reservedTokens: number; tokens: number
  /** Subjects whose ceilings it counts under, as `kind/id`. */
  readonly purses: readonly string[]
}
interface Purse { spent: number; reserved: number }

/** State by subject, after the events so far. */
export interface Replay {
  readonly tickets: Map<string, ReplayedTicket>
  readonly attempts: Map<string, ReplayedAttempt>
  readonly changes: Map<string, { state: string; headSha: string; mergedSha: string | null }>
  readonly approvals: Map<string, { status: string; uses: number; decisions: number; payloadHash: string }>
  readonly sessions: Map<string, string>
  readonly entries: Map<string, string>
  readonly checks: Map<string, string>
  readonly calls: Map<string, ReplayedCall>
  readonly questions: Map<string, boolean>
  readonly vms: Map<string, string>
  /** Spent and reserved by `kind/id/unit` of a ceiling. */
  readonly purses: Map<string, Purse>
  /** Ceilings as events have raised or set them; undefined where none has. */
  readonly caps: Map<string, number | null>
  /** Attempts whose refs retention has taken, long after their tickets were over. */
  readonly retired: Set<string>
  /** What contradicts itself within the log. */
  readonly findings: Finding[]
  events: number
}

export interface ReplayKnowledge {
  /** Parents by child. */
  readonly parents: ReadonlyMap<string, readonly string[]>
  /** The ceiling that a purse had at the beginning; undefined: not known, or none. */
  readonly firstCaps: ReadonlyMap<string, number | null>
}

export function emptyReplay(): Replay {
  return {
    tickets: new Map(), attempts: new Map(), changes: new Map(), approvals: new Map(), sessions: new Map(), entries: new Map(), checks: new Map(),
    calls: new Map(), questions: new Map(), vms: new Map(), purses: new Map(), caps: new Map(), retired: new Set(), findings: [], events: 0,
  }
}

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null)
const number = (value: unknown): number | null => (typeof value === 'number' ? value : null)

/** Takes one event in, in the order of `seq`. */
export function replayEvent(replay: Replay, event: EventFact, known: ReplayKnowledge): void {
  replay.events++
  HANDLERS[event.type]?.(replay, event, known)
}

type Handler = (replay: Replay, event: EventFact, known: ReplayKnowledge) => void

const HANDLERS: Readonly<Record<string, Handler>> = {
  'ticket:update': (replay, { subjectId: id, data, seq }, known) => {
    const to = text(data['to']) ?? ''
    const ticket = replay.tickets.get(id) ?? { state: '', held: false, fence: 0, attempts: 0, running: new Set<string>(), claimed: false, done: false }
    const from = text(data['from'])
    if (ticket.state !== (from ?? '')) report(replay, 'I9', 'ticket', id, `event ${seq} moves the ticket from ${from ?? 'nothing'} to ${to}, but the events before it left it in ${ticket.state || 'nothing'}`, { seq, from, to, replayed: ticket.state })
    ticket.state = to
    ticket.held = to === 'on_hold'
    ticket.done ||= to === 'done'
    if (to === 'claimed') claimed(replay, ticket, id, data, seq, known)
    replay.tickets.set(id, ticket)
  },

  'ticket:progress': (replay, { subjectId: ticketId, data, seq }) => {
    const attemptId = text(data['attemptId'])
    const questionId = text(data['questionId'])
    if (questionId !== null) replay.questions.set(questionId, data['answered'] === true)
    if (attemptId === null) return
    const to = text(data['to'])
    if (to !== null) {
      const attempt = replay.attempts.get(attemptId)
      const from = text(data['from'])
      if (attempt && attempt.state !== from) report(replay, 'I9', 'attempt', attemptId, `event ${seq} moves the attempt from ${from ?? 'nothing'} to ${to}, but the events before it left it in ${attempt.state}`, { seq, from, to, replayed: attempt.state })
      replay.attempts.set(attemptId, { ticketId, state: to, fence: number(data['fence']) ?? attempt?.fence ?? 0 })
      const running = replay.tickets.get(ticketId)?.running
      if (to === 'running') running?.add(attemptId)
      else running?.delete(attemptId)
    } else if (data['step'] !== undefined) wrote(replay, attemptId, seq, `step ${String(data['step'])}`)
  },

  'ticket:activity': (replay, { data, seq }) => {
    const attemptId = text(data['attemptId'])
    if (attemptId !== null) wrote(replay, attemptId, seq, 'activity')
  },

  'change:created': (replay, { subjectId, data }) => { replay.changes.set(subjectId, { state: 'open', headSha: text(data['headSha']) ?? '', mergedSha: null }) },
  'change:closed': (replay, { subjectId }) => { setChange(replay, subjectId, 'closed', null) },
  'change:merged': (replay, { subjectId, data }) => { setChange(replay, subjectId, 'merged', text(data['sha'])) },
  'merge:update': (replay, { subjectId, data }) => { replay.entries.set(subjectId, text(data['to']) ?? '') },

  'approval:requested': (replay, { data }) => {
    const id = text(data['approvalId'])
    if (id !== null) replay.approvals.set(id, { status: 'pending', uses: 0, decisions: 0, payloadHash: text(data['payloadHash']) ?? '' })
  },
  'approval:resolved': (replay, { data }) => {
    const approval = replay.approvals.get(text(data['approvalId']) ?? '')
    if (!approval) return
    approval.status = text(data['status']) ?? ''
    approval.decisions++
  },
  'approval:used': (replay, { data }) => {
    const approval = replay.approvals.get(text(data['approvalId']) ?? '')
    if (approval) approval.uses++
  },

  'session:update': (replay, { subjectId, data }) => { replay.sessions.set(subjectId, text(data['state']) ?? '') },
  'check:update': (replay, { subjectId, data }) => { replay.checks.set(subjectId, text(data['to']) ?? '') },
  'vm:update': (replay, { subjectId, data }) => { replay.vms.set(subjectId, text(data['state']) ?? '') },

  'retention:removed': (replay, { data }) => {
    for (const each of Array.isArray(data['refs']) ? data['refs'] as { ref?: unknown }[] : []) {
      const id = /^refs\/swarm\/attempts\/([^/]+)\//.exec(text(each.ref) ?? '')?.[1]
      if (id !== undefined) replay.retired.add(id)
    }
  },
  'project:created': setCaps, 'project:changed': setCaps, 'budget:raised': setCaps, 'budget:set': setCaps,
  'budget:breach': (replay, { data }) => {
    const id = text(data['callId'])
    if (id !== null) replay.calls.set(id, { state: 'refused', reservedMicroUsd: 0, costMicroUsd: 0, reservedTokens: 0, tokens: 0, purses: [] })
  },
  'model:reserved': reserved,
  'model:call': settled,
}

function setChange(replay: Replay, id: string, state: string, mergedSha: string | null): void {
  const change = replay.changes.get(id)
  if (change) Object.assign(change, { state, mergedSha })
  else replay.changes.set(id, { state, headSha: '', mergedSha })
}

function claimed(replay: Replay, ticket: ReplayedTicket, id: string, data: EventFact['data'], seq: number, known: ReplayKnowledge): void {
  const fence = number(data['fence']) ?? ticket.fence + 1
  if (fence <= ticket.fence) report(replay, 'I2', 'ticket', id, `event ${seq} claims the ticket under fence ${fence}, which is not above ${ticket.fence}`, { seq, fence, before: ticket.fence })
  ticket.fence = fence
  if (!ticket.claimed) {
    for (const parent of known.parents.get(id) ?? []) {
      if (!replay.tickets.get(parent)?.done) report(replay, 'I8', 'ticket', id, `it was started (event ${seq}) before ${parent}, which it depends on, was merged`, { seq, parent, parentState: replay.tickets.get(parent)?.state ?? null })
    }
    ticket.claimed = true
  }
  const attemptId = text(data['attemptId'])
  if (attemptId === null) return
  const attempt = replay.attempts.get(attemptId)
  if (!attempt) ticket.attempts++
  for (const other of ticket.running) if (other !== attemptId) report(replay, 'I2', 'attempt', attemptId, `it began (event ${seq}) while ${other} of the same ticket was running`, { seq, other })
  ticket.running.add(attemptId)
  replay.attempts.set(attemptId, { ticketId: id, state: 'running', fence })
}

/** Something was written on behalf of an attempt: it must hold its ticket at that moment. */
function wrote(replay: Replay, attemptId: string, seq: number, what: string): void {
  const attempt = replay.attempts.get(attemptId)
  if (!attempt) return
  const fence = replay.tickets.get(attempt.ticketId)?.fence ?? attempt.fence
  if (attempt.state === 'running' && attempt.fence === fence) return
  report(replay, 'I2', 'attempt', attemptId, `event ${seq} (${what}) was written for it while it was ${attempt.state} under fence ${attempt.fence}; the ticket's was ${fence}`, { seq, what, state: attempt.state, fence: attempt.fence, ticketFence: fence })
}

/** Events that change a ceiling that was there before. */
export const CAP_EVENTS = ['budget:raised', 'budget:set', 'project:changed'] as const

type CapEvent = Pick<EventFact, 'type' | 'subjectId' | 'data'>
type Caps = [key: string, cap: number | null][]

/** The ceilings in the settings of a project, its own by `project/id/unit` and that of each of its tickets by `project/id/ticket/unit`. What attempts may use is fixed for each (`budget:set`). */
export function projectCaps(id: string, settings: Readonly<Record<string, unknown>>): Caps {
  return [
    [`project/${id}/micro_usd`, number(settings['maxCostMicroUsd'])], [`project/${id}/tokens`, number(settings['maxTokens'])],
    [`project/${id}/ticket/micro_usd`, number(settings['ticketMaxCostMicroUsd'])], [`project/${id}/ticket/tokens`, number(settings['ticketMaxTokens'])],
  ]
}

/** What the ceilings that an event changed were before, as far as it says so: null where it says none. Before a ticket had its own, that of its project held. */
export function capsBefore({ type, subjectId, data }: CapEvent): Caps {
  if (type === 'project:changed') return projectCaps(subjectId, (data['from'] ?? {}) as Record<string, unknown>)
  return data['ceiling'] === 'ticket' ? [] : budgetCap(data, number(data['from']))
}

function budgetCap(data: EventFact['data'], cap: number | null): Caps {
  const [kind, id, unit] = [text(data['ceiling']), text(data['ceilingId']), text(data['unit'])]
  return kind === null || id === null || unit === null ? [] : [[`${kind}/${id}/${unit}`, cap]]
}

/** Null: there is none from then on. A log from before settings were in `project:created` leaves that to what is known. */
function setCaps(replay: Replay, { type, subjectId, data }: EventFact): void {
  const settings = data['settings'] as Record<string, unknown> | undefined
  const caps = type.startsWith('project:') ? settings === undefined ? [] : projectCaps(subjectId, settings) : budgetCap(data, data['own'] === false ? null : number(data['to']) ?? number(data['cap']))
  for (const [key, cap] of caps) replay.caps.set(key, cap)
}

/** The ceiling that holds for a purse at this moment; a ticket without its own has that of its project. */
function capOf(replay: Replay, known: ReplayKnowledge, purse: string, projectId: string | null): number | null {
  const at = (key: string): number | null => (replay.caps.has(key) ? replay.caps.get(key) : known.firstCaps.get(key)) ?? null
  const own = at(purse)
  return own === null && purse.startsWith('ticket/') && projectId !== null ? at(`project/${projectId}/ticket/${purse.split('/').at(-1) ?? ''}`) : own
}

const PURSE_FIELDS = { attempt: 'attemptId', ticket: 'ticketId', session: 'sessionId', project: 'projectId' } as const

function pursesOf(data: EventFact['data']): string[] {
  return Object.entries(PURSE_FIELDS).flatMap(([kind, field]) => {
    const id = text(data[field])
    return id === null ? [] : [`${kind}/${id}`]
  })
}

function purse(replay: Replay, key: string): Purse {
  const found = replay.purses.get(key) ?? { spent: 0, reserved: 0 }
  replay.purses.set(key, found)
  return found
}

function reserved(replay: Replay, event: EventFact, known: ReplayKnowledge): void {
  const { data, seq } = event
  const id = text(data['callId'])
  if (id === null) return
  const call: ReplayedCall = { state: 'open', reservedMicroUsd: number(data['reservedMicroUsd']) ?? 0, costMicroUsd: 0, reservedTokens: number(data['reservedTokens']) ?? 0, tokens: 0, purses: pursesOf(data) }
  replay.calls.set(id, call)
  const attemptId = text(data['attemptId'])
  if (attemptId !== null) wrote(replay, attemptId, seq, `model call ${id}`)
  for (const [key, amount] of amountsOf(call, 'reserved')) {
    const of = purse(replay, key)
    of.reserved += amount
    const cap = capOf(replay, known, key, text(data['projectId']))
    if (cap !== null && of.spent + of.reserved > cap) report(replay, 'I7', 'call', id, `its reservation (event ${seq}) took ${key} to ${of.spent + of.reserved}, above its ceiling of ${cap}`, { seq, purse: key, spent: of.spent, reserved: of.reserved, cap })
  }
}

function settled(replay: Replay, event: EventFact): void {
  const { data, seq } = event
  const id = text(data['callId'])
  if (id === null) return
  const cost = number(data['costMicroUsd']) ?? 0
  const before = replay.calls.get(id)
  if (before?.state === 'settled') report(replay, 'I7', 'call', id, `it was settled twice (event ${seq})`, { seq, costs: [before.costMicroUsd, cost] })
  const call: ReplayedCall = {
    state: 'settled', reservedMicroUsd: before?.reservedMicroUsd ?? 0, costMicroUsd: cost, reservedTokens: before?.reservedTokens ?? 0, tokens: number(data['tokens']) ?? 0, purses: before?.purses ?? pursesOf(data),
  }
  replay.calls.set(id, call)
  if (before?.state === 'open') for (const [key, amount] of amountsOf(before, 'reserved')) purse(replay, key).reserved -= amount
  if (before?.state !== 'settled') for (const [key, amount] of amountsOf(call, 'spent')) purse(replay, key).spent += amount
}

function amountsOf(call: ReplayedCall, what: 'reserved' | 'spent'): [key: string, amount: number][] {
  return call.purses.flatMap((key): [string, number][] => [
    [`${key}/micro_usd`, what === 'reserved' ? call.reservedMicroUsd : call.costMicroUsd], [`${key}/tokens`, what === 'reserved' ? call.reservedTokens : call.tokens],
  ])
}

function report(replay: Replay, invariant: Finding['invariant'], kind: string, id: string, message: string, evidence: Record<string, unknown>): void {
  replay.findings.push({ invariant, subject: { kind, id }, message, evidence, repairable: false })
}
