import type { Client } from '@swarm/contract/client.ts'
import { showTicket, type Ticket } from '@swarm/contract/endpoints/tickets.ts'
import type { LiveEvent } from '@swarm/contract/live-events.ts'
import type { Io } from '../io.ts'
import { duration } from '../io.ts'

/** Says what happens while it happens: one line per thing that a person wants to know, and a status line with the count. */
export interface Progress {
  event(event: LiveEvent): Promise<void>
  tickets(tickets: readonly Ticket[]): void
}

const LABEL_WIDTH = 14
/** Findings shown of one attempt. */
const MAX_FINDINGS = 5

export function createProgress(options: { io: Io; client: Client; sessionId: string; startedAt: number; signal: AbortSignal }): Progress {
  const { io, sessionId } = options
  const known = new Map<string, Ticket>()
  const labels = new Map<string, string>()
  const vms = new Map<string, string>()

  const say = (label: string, text: string): void => {
    const at = duration(Date.now() - options.startedAt).padStart(9)
    io.say(`${io.style('dim', at)}  ${io.style('cyan', label.padEnd(LABEL_WIDTH))} ${text}`)
  }
  const labelOf = (ticketId: string): string => labels.get(ticketId) ?? known.get(ticketId)?.key ?? ticketId
  const status = (): void => {
    const count = (states: readonly string[]): number => [...known.values()].filter((ticket) => states.includes(ticket.state)).length
    if (known.size === 0) return
    io.status(`${known.size} tickets: ${count(['done'])} merged · ${count(['claimed', 'in_progress'])} at work · ${count(['verifying'])} checked · ${count(['in_review', 'merging'])} merging · ${count(['on_hold', 'failed'])} held · ${vms.size} microVMs · ${duration(Date.now() - options.startedAt)}`)
  }

  /** Why the last attempt or merge did not do: read from the attempt, which has the findings. */
  async function why(ticketId: string): Promise<void> {
    const { history } = await options.client.call(showTicket, { params: { ticketId } }, { signal: options.signal })
    // The next attempt may have begun already.
    const last = history.findLast((attempt) => attempt.evidence !== null)
    if (!last?.evidence) return
    const { findings, conflict, checkOutput } = last.evidence
    for (const finding of findings.slice(0, MAX_FINDINGS)) {
      say(labelOf(ticketId), `  ${io.style(finding.severity === 'error' ? 'red' : 'yellow', finding.code)} ${finding.path ?? ''}${finding.line === null ? '' : `:${finding.line}`} ${finding.message}`)
    }
    if (findings.length > MAX_FINDINGS) say(labelOf(ticketId), `  and ${findings.length - MAX_FINDINGS} more findings`)
    if (conflict !== '') say(labelOf(ticketId), '  the next attempt gets both sides of the conflict')
    else if (findings.length === 0 && checkOutput !== '') say(labelOf(ticketId), `  ${checkOutput.trim().split('\n').slice(-1)[0]?.slice(0, 160) ?? ''}`)
  }

  async function ticketMoved(id: string, data: Readonly<Record<string, unknown>>): Promise<void> {
    const [to, from, reason] = [String(data['to']), String(data['from']), typeof data['reason'] === 'string' ? data['reason'] : '']
    if (typeof data['key'] === 'string' && data['key'] !== '') labels.set(id, data['key'])
    const label = labelOf(id)
    switch (to) {
      case 'claimed': return say(label, 'claimed by an agent')
      case 'in_progress': return
      case 'verifying': return say(label, 'handed in: the output gate and the checks look at it')
      case 'in_review': return say(label, 'gate and checks passed: waits for the decision to merge')
      case 'merging': return say(label, 'in the merge queue: rebased, then checked on the merged tree')
      case 'done': return say(label, io.style('green', 'merged'))
      case 'on_hold':
        say(label, io.style('yellow', `on hold: ${reason}`))
        if (from !== 'in_progress' || !reason.startsWith('an agent asks')) await why(id)
        return
      case 'failed': case 'cancelled': return say(label, io.style('red', `${to}: ${reason}`))
      case 'ready': case 'changes_requested':
        // A new ticket becomes ready without a reason; everything else comes back for one.
        if (from === 'null' || from === 'draft' || (reason === '' && from === 'undefined')) return
        say(label, io.style('yellow', `goes back to an agent${reason === '' ? '' : `: ${reason}`}`))
        if (from === 'verifying' || from === 'merging' || from === 'in_progress') await why(id)
    }
  }

  return {
    tickets(tickets) {
      for (const ticket of tickets) {
        known.set(ticket.id, ticket)
        if (ticket.key !== '') labels.set(ticket.id, ticket.key)
      }
      status()
    },
    async event({ type, subject, data }) {
      if (type === 'session:update' && subject.id === sessionId) {
        const state = String(data['to'] ?? data['state'])
        if (typeof data['step'] === 'string') say('design', `planned: ${data['step']}${data['usable'] === false ? io.style('yellow', ' (not usable, asked again)') : ''}`)
        else say('design', SESSION_WORDS[state] ?? state)
      } else if (type === 'tickets:generated' && subject.id === sessionId) {
        say('design', `${Object.keys(data['tickets'] ?? {}).length} tickets made`)
      } else if (type === 'ticket:update' && data['sessionId'] === sessionId) {
        await ticketMoved(subject.id, data)
      } else if (type === 'ticket:progress' && known.has(subject.id)) {
        const label = labelOf(subject.id)
        if (typeof data['question'] === 'string') say(label, io.style('magenta', `asks: ${data['question']}`))
        else if (data['step'] === 'agent' && data['state'] === 'done') say(label, `the agent finished${typeof data['wallMs'] === 'number' ? ` after ${duration(data['wallMs'])}` : ''}`)
      } else if (type === 'ticket:activity' && known.has(subject.id) && data['egressRefused']) {
        const refused = data['egressRefused'] as { host?: string; code?: string }
        say(labelOf(subject.id), io.style('yellow', `egress refused: ${refused.host ?? ''} (${refused.code ?? ''})`))
      } else if (type === 'vm:update') {
        const ticketId = typeof data['ticketId'] === 'string' ? data['ticketId'] : null
        if (data['state'] === 'ended') vms.delete(subject.id)
        else vms.set(subject.id, ticketId ?? '')
        if (data['state'] === 'running' && (ticketId === null || known.has(ticketId))) {
          const restored = typeof data['restoreMs'] === 'number' ? `, restored in ${data['restoreMs']} ms` : ''
          say(ticketId === null ? 'main' : labelOf(ticketId), `${subject.id} runs ${data['workKind'] === 'check' ? 'checks' : 'the agent'} (${String(data['driver'])}${restored})`)
        }
      } else if (type === 'change:created' && data['sessionId'] === sessionId) {
        say(labelOf(String(data['ticketId'])), `change ${subject.id}: ${String(data['title'])}`)
      }
      status()
    },
  }
}

const SESSION_WORDS: Readonly<Record<string, string>> = {
  input: 'the spec is in', clarifying: 'questions about the spec', ready_for_docs: 'the designer plans', reviewing: 'the plan is ready for approval', approved: 'the plan is approved',
  building: 'the build starts', completed: 'the build is complete', failed: 'failed', cancelled: 'cancelled',
}
