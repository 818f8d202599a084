import { setTimeout as delay } from 'node:timers/promises'
import type { Client } from '@swarm/contract/client.ts'
import { decideApproval, listApprovals, type Approval } from '@swarm/contract/endpoints/approvals.ts'
import { createSession, listSessions, retrySession, type DesignSession } from '@swarm/contract/endpoints/design.ts'
import { resumeMergeQueue, showMergeQueue } from '@swarm/contract/endpoints/changes.ts'
import { answerQuestion, cancelTicket, createTicket, listQuestions, listTickets, retryTicket, type Ticket } from '@swarm/contract/endpoints/tickets.ts'
import { ApiError } from '@swarm/contract/errors.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { planSession, planWave, type RepositoryName } from './fleet.ts'

/** Between two looks of the people, ms. */
const LOOK_MS = 250
/** Times that they send a held ticket back to work, while faults come and again when they are over. */
const REDRIVES = 6
const WAVE = 5

export interface People extends AsyncDisposable {
  /** As of the last look. */
  tickets(): readonly Ticket[]
  /** The next approval that asks; they leave it to the caller, and decide it themselves after `giveBack`. */
  takeApproval(signal: AbortSignal): Promise<Approval>
  giveBack(approval: Approval): void
  /** They leave this ticket alone until the function is called. */
  leaveAlone(ticketId: string): () => void
  /** No more new work; what is held gets its redrives anew. */
  settle(): void
  /** Tickets and designs that still can or should move by themselves or by these people, each in words. */
  open(): readonly string[]
  looks(): number
}

/** The people's part: they ask for work, approve, answer, and send back what is held, until they are disposed of. */
export function startPeople(options: { client: Client; seed: number; inFlight: number; projectId: string; repositories: Readonly<Record<RepositoryName, string>>; onNote: (line: string) => void }): People {
  const { client, projectId } = options
  const stopping = new AbortController()
  const { signal } = stopping
  const waiting: ((approval: Approval) => void)[] = []
  const taken = new Set<string>()
  const left = new Set<string>()
  let redrives = new Map<string, number>()
  let tickets: Ticket[] = []
  let sessions: DesignSession[] = []
  let settling = false
  let wave = 0
  let looks = 0

  /** Somebody else was faster, or the server is away: the next look shows how things stand. */
  async function attempt<T>(act: () => Promise<T>): Promise<T | null> {
    try {
      return await act()
    } catch (error) {
      if (signal.aborted || error instanceof DomainError || (error instanceof ApiError && (error.status >= 409 || error.status === 404))) return null
      if (error instanceof ApiError) {
        options.onNote(`a person was refused: ${error.status} ${error.code} ${error.message}`)
        return null
      }
      throw error
    }
  }

  async function allTickets(): Promise<Ticket[]> {
    const all: Ticket[] = []
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page: { items: Ticket[]; nextCursor: string | null } = await client.call(listTickets, { query: { projectId, limit: 200, ...(cursor === undefined ? {} : { cursor }) } }, { signal })
      all.push(...page.items)
      cursor = page.nextCursor
    }
    return all
  }

  const redriven = (id: string): boolean => (redrives.get(id) ?? 0) >= REDRIVES
  const count = (id: string): void => { redrives.set(id, (redrives.get(id) ?? 0) + 1) }
  const over = (ticket: Ticket): boolean => ticket.state === 'done' || ticket.state === 'cancelled' || (redriven(ticket.id) && (ticket.state === 'on_hold' || ticket.state === 'failed'))
  const designing = (): DesignSession[] => sessions.filter(({ id, state }) => !['building', 'completed', 'cancelled'].includes(state) && !(state === 'failed' && redriven(id)))
  const open = (): string[] => [
    ...tickets.filter((ticket) => !over(ticket)).map(({ id, title, state, waitsFor, holdReason }) => `${id} ${title}: ${state}${holdReason === null ? '' : ` (${holdReason})`}${waitsFor === null ? '' : `, waits for ${waitsFor}`}`),
    ...designing().map(({ id, title, state }) => `${id} ${title}: ${state}`),
  ]

  async function look(): Promise<void> {
    const all = await attempt(allTickets)
    if (all === null) return
    tickets = all
    looks++
    for (const approval of (await attempt(() => client.call(listApprovals, { query: { status: 'pending', limit: 200 } }, { signal })))?.items ?? []) {
      if (taken.has(approval.id)) continue
      const race = approval.kind === 'merge' ? waiting.shift() : undefined
      if (race === undefined) await attempt(() => client.call(decideApproval, { params: { approvalId: approval.id }, body: { decision: 'approved', payloadHash: approval.payloadHash } }, { signal }))
      else {
        taken.add(approval.id)
        race(approval)
      }
    }
    for (const question of (await attempt(() => client.call(listQuestions, { query: {} }, { signal })))?.items ?? []) {
      await attempt(() => client.call(answerQuestion, { params: { questionId: question.id }, body: { answer: 'Any word that is fine.' } }, { signal }))
    }
    sessions = (await attempt(() => client.call(listSessions, { query: { projectId, limit: 200 } }, { signal })))?.items ?? sessions
    for (const { id, state } of sessions) {
      if (state !== 'failed' || redriven(id)) continue
      count(id)
      await attempt(() => client.call(retrySession, { params: { sessionId: id } }, { signal }))
    }
    const byId = new Map(tickets.map((ticket) => [ticket.id, ticket]))
    for (const ticket of tickets) {
      if (left.has(ticket.id)) continue
      if (ticket.can.retry && !redriven(ticket.id) && ticket.holdReason?.startsWith('an agent asks') !== true) {
        count(ticket.id)
        await attempt(() => client.call(retryTicket, { params: { ticketId: ticket.id } }, { signal }))
      }
      // What waits for something that will never be done is not wanted any more.
      const orphaned = ticket.can.cancel && ticket.state !== 'on_hold' && ticket.dependsOn.some((id) => { const parent = byId.get(id); return parent !== undefined && parent.state !== 'done' && over(parent) })
      if (orphaned && (settling || byId.get(ticket.dependsOn[0] ?? '')?.state === 'cancelled')) await attempt(() => client.call(cancelTicket, { params: { ticketId: ticket.id }, body: { reason: 'what it builds on will not be done' } }, { signal }))
    }
    for (const repositoryId of Object.values(options.repositories)) {
      const queue = await attempt(() => client.call(showMergeQueue, { params: { repositoryId } }, { signal }))
      if (queue === null || queue.pausedReason === null) continue
      options.onNote(`a merge queue was paused: ${queue.pausedReason.slice(0, 300)}`)
      await attempt(() => client.call(resumeMergeQueue, { params: { repositoryId } }, { signal }))
    }
    if (!settling && open().length < options.inFlight) await ask()
  }

  async function ask(): Promise<void> {
    const session = planSession(options.seed, wave)
    if (session !== null) {
      const { repository, spec, maxCostMicroUsd } = session
      await attempt(() => client.call(createSession, { body: { projectId, repositoryId: options.repositories[repository], spec, clarify: 'off', maxCostMicroUsd } }, { signal }))
    }
    const ids: string[] = []
    for (const planned of planWave(options.seed, wave++, WAVE)) {
      const made = await attempt(() => client.call(createTicket, {
        body: {
          projectId, repositoryId: options.repositories[planned.repository], title: planned.title, agent: planned.agent, scope: [...planned.scope], priority: planned.priority,
          dependsOn: planned.after.flatMap((place) => ids[place] ?? []),
        },
      }, { signal }))
      ids.push(made?.id ?? '')
      if (made === null) ids.pop()
    }
  }

  const running = (async () => {
    while (!signal.aborted) {
      await look()
      await delay(LOOK_MS, undefined, { signal }).catch(() => undefined)
    }
  })()
  running.catch((error: unknown) => { options.onNote(`the people gave up: ${String(error)}`) })

  return {
    tickets: () => tickets, open, looks: () => looks,
    takeApproval: (until) => new Promise((resolve, reject) => {
      const give = (approval: Approval): void => { resolve(approval) }
      waiting.push(give)
      until.addEventListener('abort', () => {
        const place = waiting.indexOf(give)
        if (place !== -1) waiting.splice(place, 1)
        reject(new Error('nothing asked for approval meanwhile'))
      }, { once: true })
    }),
    giveBack: (approval) => { taken.delete(approval.id) },
    leaveAlone(ticketId) {
      left.add(ticketId)
      return () => { left.delete(ticketId) }
    },
    settle() {
      settling = true
      redrives = new Map()
    },
    async [Symbol.asyncDispose]() {
      stopping.abort(new Error('the people go home'))
      await running.catch(() => undefined)
    },
  }
}
