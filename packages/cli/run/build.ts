import type { Client } from '@swarm/contract/client.ts'
import { listApprovals, type Approval } from '@swarm/contract/endpoints/approvals.ts'
import { showMergeQueue } from '@swarm/contract/endpoints/changes.ts'
import { showSession, type DesignSessionDetail } from '@swarm/contract/endpoints/design.ts'
import { listQuestions, listTickets, type Question, type Ticket } from '@swarm/contract/endpoints/tickets.ts'
import type { LiveEvent } from '@swarm/contract/live-events.ts'
import { z } from 'zod'
import { UserError } from '../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { isAway } from '../platform/patient-fetch.ts'
import { plain } from '../io.ts'
import { answerQuestion, openQuestion } from './clarify.ts'
import { answer, decide, subjectOf, type Deciding } from './decide.ts'
import { follow, inBatches } from './live.ts'
import { createProgress } from './progress.ts'

export interface BuildOptions extends Deciding {
  readonly url: string
  readonly projectId: string
  readonly sessionId: string
  /** ms since the epoch, for the times in front of the lines. */
  readonly startedAt: number
  /** An answer to an agent's question that is known beforehand. */
  readonly knownAnswer?: (question: string) => string | undefined
}

export interface BuildEnd {
  readonly session: DesignSessionDetail
  readonly tickets: readonly Ticket[]
  /** Why it ended without being complete; null when it is. */
  readonly stuck: string | null
}

/** After these events somebody may have something to decide, or it may be over. */
const WORTH_A_LOOK: ReadonlySet<LiveEvent['type']> = new Set(['approval:requested', 'approval:resolved', 'session:update', 'session:message', 'spec:generated', 'tickets:generated', 'build:progress', 'ticket:update', 'ticket:progress', 'change:created', 'change:returned', 'queue:paused'])

/**
 * Follows a design session to its end: says what happens, has gates and questions decided, and returns when the session is
 * over or nothing can move any more.
 * @throws UserError decision_needed (exit 4) when a person has to decide and none is there
 */
export async function build(options: BuildOptions): Promise<BuildEnd> {
  const { client, io, signal, sessionId } = options
  const progress = createProgress({ io, client, sessionId, startedAt: options.startedAt, signal })
  const looked = new Set<string>()
  const leaving = new AbortController()
  try {
    for await (const batch of inBatches(follow({ client, url: options.url, rooms: [`project:${options.projectId}`], signal: AbortSignal.any([signal, leaving.signal]) }))) {
      let look = false
      try {
        for (const live of batch) {
          look ||= live.kind !== 'event' || WORTH_A_LOOK.has(live.event.type)
          if (live.kind === 'event') await progress.event(live.event)
        }
        if (!look) continue
        const state = await read(client, options, signal)
        progress.tickets(state.tickets)
        const end = await act(state, options, looked)
        if (end) return end
      } catch (error) {
        // The server went away in the middle. Whether a decision reached it shows the look that follows the reconnection.
        if (!isAway(error)) throw error
      }
    }
    throw new Error('the events of the build ended before it did')
  } finally {
    leaving.abort(new Error('the build was followed to its end'))
    io.status(null)
  }
}

interface State { readonly session: DesignSessionDetail; readonly tickets: readonly Ticket[]; readonly approvals: readonly Approval[]; readonly questions: readonly z.output<typeof Question>[] }

async function read(client: Client, { sessionId, projectId }: BuildOptions, signal: AbortSignal): Promise<State> {
  const [session, tickets, { items: approvals }, { items: questions }] = await Promise.all([
    client.call(showSession, { params: { sessionId } }, { signal }), ticketsOf(client, sessionId, signal),
    client.call(listApprovals, { query: { projectId, status: 'pending', limit: 200 } }, { signal }), client.call(listQuestions, { query: { projectId, open: 'true', limit: 200 } }, { signal }),
  ])
  const ids = new Set([sessionId, ...tickets.flatMap((ticket) => [ticket.id, ...(ticket.changeId === null ? [] : [ticket.changeId])])])
  const about = z.looseObject({ ticketId: z.string().optional(), sessionId: z.string().optional(), id: z.string().optional() })
  return {
    session, tickets, questions: questions.filter((question) => ids.has(question.ticketId)),
    approvals: approvals.filter(({ subject, payload }) => {
      const named = about.safeParse(payload)
      return ids.has(subject.id) || subject.id === projectId || (named.success && [named.data.ticketId, named.data.sessionId].some((id) => id !== undefined && ids.has(id)))
    }),
  }
}

/** All tickets of a session, in the order of their making. */
export async function ticketsOf(client: Client, sessionId: string, signal?: AbortSignal): Promise<Ticket[]> {
  const tickets: Ticket[] = []
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page: { items: Ticket[]; nextCursor: string | null } = await client.call(listTickets, { query: { sessionId, limit: 200, ...(cursor === undefined ? {} : { cursor }) } }, signal ? { signal } : {})
    tickets.push(...page.items)
    cursor = page.nextCursor
  }
  return tickets.sort((a, b) => a.wave - b.wave || a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
}

async function act(state: State, options: BuildOptions, said: Set<string>): Promise<BuildEnd | null> {
  const { session, tickets } = state
  const { io, sessionId } = options
  const over = (stuck: string | null): BuildEnd => ({ session, tickets, stuck })
  if (session.state === 'completed') return over(null)
  if (session.state === 'cancelled') return over('the design session was cancelled')
  if (session.state === 'failed') return over(session.failure === null ? 'the design session failed' : `${session.failure.message} ${session.failure.remedy}`)

  const open: Approval[] = []
  for (const approval of state.approvals) {
    // Whoever is here has approved, and it takes more people: not asked again.
    const heard = `heard ${approval.id}`
    if (!said.has(heard) && await decide(approval, options)) continue
    if (io.interactive || options.yes) said.add(heard)
    open.push(approval)
  }
  let asking = 0
  for (const question of state.questions) {
    if (await answer(question, options.knownAnswer?.(question.text), options)) continue
    asking++
    if (!said.has(question.id)) io.say(`  to answer: swarm question answer ${question.id} "…"${question.options.length === 0 ? '' : `   (${question.options.join(' | ')})`}`)
    said.add(question.id)
  }
  const question = openQuestion(session)
  if (question !== undefined) {
    if (io.interactive) {
      await answerQuestion(sessionId, question, options)
      return null
    }
    throw new UserError('decision_needed', `The designer asks: ${plain(question.question)}`, `Answer with "swarm session answer ${sessionId} …", or go on with what is known by "swarm session skip ${sessionId}", while the platform runs ("swarm start"); the same command then goes on where it is.`, EXIT.person)
  }
  if (open.length < state.approvals.length || asking < state.questions.length) return null // what was decided comes back as events

  for (const approval of open) {
    if (!said.has(approval.id)) io.say(io.style('yellow', `  ${subjectOf(approval)} waits for a person: swarm approval show ${approval.id}`))
    said.add(approval.id)
  }
  const [first] = open
  const nothingMoves = session.state === 'building' ? asking === 0 && await stands(state, options) : session.state === 'reviewing' || session.state === 'approved'
  if (!nothingMoves) return null
  if (first) {
    throw new UserError('decision_needed', `${subjectOf(first)} (${first.id}) waits for a person, and nobody is here to decide.`,
      `Look at it and decide with "swarm approval approve ${first.id}" while the platform runs ("swarm start"), or run this in a terminal${first.yesAllowed && !options.yes ? ', or with --yes' : ''}; the same command then goes on where it is.`, EXIT.person)
  }
  if (session.state !== 'building') return null
  const held = tickets.filter((ticket) => ticket.state === 'on_hold' || ticket.state === 'failed')
  return over(held.length === 0 ? 'the merge queue stands still' : `${held.length} ticket${held.length === 1 ? '' : 's'} cannot go on`)
}

/** Whether no ticket can move without a person: each is over, held, undecided, behind one of those, or in a queue that stands. */
async function stands({ tickets, approvals }: State, { client, signal, io }: BuildOptions): Promise<boolean> {
  if (tickets.length === 0) return false
  const waiting = new Set(tickets.filter((ticket) => ['on_hold', 'failed', 'cancelled'].includes(ticket.state) || (ticket.state === 'in_review' && approvals.length > 0)).map(({ id }) => id))
  if (waiting.size === 0 && !tickets.some((ticket) => ticket.state === 'merging')) return false
  for (let size = -1; size !== waiting.size;) {
    size = waiting.size
    for (const ticket of tickets) if (['ready', 'changes_requested', 'draft'].includes(ticket.state) && ticket.dependsOn.some((id) => waiting.has(id))) waiting.add(ticket.id)
  }
  const moving = tickets.filter((ticket) => ticket.state !== 'done' && !waiting.has(ticket.id))
  if (moving.length === 0) return tickets.some((ticket) => ticket.state !== 'done')
  if (!moving.every((ticket) => ticket.state === 'merging' || ticket.dependsOn.some((id) => moving.some((other) => other.id === id)))) return false
  const queue = await client.call(showMergeQueue, { params: { repositoryId: moving[0]?.repositoryId ?? '' } }, { signal })
  if (queue.pausedReason !== null) io.say(io.style('red', `the merge queue stands still: ${queue.pausedReason}`))
  return queue.pausedReason !== null
}
