import { randomUUID } from 'node:crypto'
import { MergePayload } from '@swarm/contract/endpoints/changes.ts'
import { DomainError } from '@swarm/core/errors.ts'
import { afterAgentReview, isContent } from '@swarm/core/review/verdicts.ts'
import { afterOverload } from '@swarm/core/tickets/retries.ts'
import type { Duty } from '../../coordinator/duty.ts'
import { signal as wake, type Trx } from '../../db/unit.ts'
import { readWithModel, type Reading } from './agent-reading.ts'
import type { Comments } from './comments.ts'
import type { ReviewDependencies } from './dependencies.ts'
import type { Places } from './places.ts'
import { agentRounds, approvalStatus, changeById, insertComment, nextAgentReview, nextAgentReviewAt, patchAgentReview, takeAgentReview, ticketById, type AgentReviewRow, type ChangeRow, type TicketRow } from './queries.ts'
import { recordReview, requestMerge } from './service.ts'

export const AGENT_REVIEWER = 'agent reviewer'
/** Changes that one process has reviewed at once. */
const AT_ONCE = 4
const LEASE_MS = 60_000
/** Tries that meet an overload or a fault; from 5 s, doubled: about three minutes. Then people are asked without it. */
const MAX_TRIES = 6
/** Faults that pass. All others are final: asking again would not change them. */
const PASSING: readonly string[] = ['model_overloaded', 'model_unavailable', 'model_budget_busy']
const MAX_REASONS = 20

type Outcome = { readonly kind: 'read'; readonly reading: Reading; /** Of its comments, those whose lines exist, with these. */ readonly placed: readonly (Reading['comments'][number] & { readonly quoted: string })[] } | { readonly kind: 'failed'; readonly problem: string } | { readonly kind: 'off' }

/**
 * The agent reviewer: gives its opinion about a head before people are asked about its merge. What it is at stands in the
 * database, so that a restart goes on; a model call that was answered is not made again. Whatever becomes of it, people are
 * asked in the end, and told what it said or why it said nothing.
 */
export function createAgentReviewer(deps: ReviewDependencies, comments: Comments, places: Places): AsyncDisposable & { readonly duty: Duty; /** Resolves when nothing runs. */ idle(): Promise<void> } {
  const { db } = deps
  const owner = randomUUID()
  const stopping = new AbortController()
  const running = new Map<string, Promise<void>>()

  function start(row: AgentReviewRow): void {
    const beat = setInterval(() => {
      db.write((trx) => patchAgentReview(trx, { ...row, owner }, { lease_expires_at: deps.now() + LEASE_MS })).catch((error: unknown) => { deps.onError(error, `the lease of the review of ${row.change_id}`) })
    }, LEASE_MS / 3)
    const done = work({ ...row, owner }).catch((error: unknown) => { deps.onError(error, `the agent review of ${row.change_id}`) }).finally(() => {
      clearInterval(beat)
      running.delete(row.change_id)
      // There is room for the next one.
      db.wake.emit('work')
    })
    running.set(row.change_id, done)
  }

  async function work(row: AgentReviewRow): Promise<void> {
    const change = await changeById(db.read, row.change_id)
    const ticket = change && await ticketById(db.read, change.ticket_id)
    if (!change || !ticket) throw new DomainError('not_found', { kind: 'change', id: row.change_id })
    try {
      const outcome = await review(row, change, ticket)
      await db.write((trx) => conclude(trx, row, outcome))
    } catch (error) {
      await db.write((trx) => afterFault(trx, row, error))
    }
  }

  async function review(row: AgentReviewRow, change: ChangeRow, ticket: TicketRow): Promise<Outcome> {
    const rule = await deps.ruleOf(db.read, change.project_id)
    if (rule.agent === 'off') return { kind: 'off' }
    if (row.waits_approval_id !== null && await approvalStatus(db.read, row.waits_approval_id) === 'rejected') return { kind: 'failed', problem: `the budget was not raised (${row.waits_approval_id})` }
    const { reviews } = await agentRounds(db.read, change.id)
    const reading = await readWithModel(deps, { row, change, ticket, payload: MergePayload.parse(JSON.parse(row.payload)), round: reviews + 1 }, stopping.signal)
    const { path } = await deps.locate(change.repository_id)
    const found = await Promise.all(reading.comments.map(async (comment) => ({ ...comment, quoted: await places.quote(path, change.head_sha, comment) })))
    const placed = found.flatMap(({ quoted, ...comment }) => (quoted === null ? [] : [{ ...comment, quoted }]))
    // A comment on lines that do not exist is still something that it said.
    const elsewhere = found.filter(({ quoted }) => quoted === null).map((comment) => `${comment.path}: ${comment.body}`)
    return { kind: 'read', placed, reading: { ...reading, reasons: [...reading.reasons, ...elsewhere].slice(0, MAX_REASONS) } }
  }

  /** What follows from it, in one unit. Nothing while its ticket is held, or the change has another head by now: the journal keeps the answers. */
  async function conclude(trx: Trx, row: AgentReviewRow, outcome: Outcome): Promise<void> {
    const change = await changeById(trx, row.change_id)
    const ticket = change && await ticketById(trx, change.ticket_id)
    if (!change || change.state !== 'open' || change.head_sha !== row.head_sha || ticket?.state !== 'in_review') {
      await patchAgentReview(trx, row, { owner: null, lease_expires_at: null })
      return
    }
    if (!await patchAgentReview(trx, row, { state: 'done', owner: null, lease_expires_at: null, retry_at: null, failure: outcome.kind === 'failed' ? outcome.problem : null })) return
    const payload = MergePayload.parse(JSON.parse(row.payload))
    const ask = (shown: MergePayload): Promise<void> => requestMerge(trx, deps, { projectId: change.project_id, payload: shown, correlationId: row.correlation_id })
    const rule = await deps.ruleOf(trx, change.project_id)
    const about = { servedBy: deps.servedBy, minimumScore: rule.minimumScore }
    wake(trx, 'work')
    if (outcome.kind === 'off') return await ask(payload)
    if (outcome.kind === 'failed') {
      return await ask({ ...payload, warnings: [...payload.warnings, `The agent reviewer could not review: ${outcome.problem}`], review: { ...about, score: null, verdict: null, reasons: [], unread: [], failed: outcome.problem } })
    }
    const { score, verdict, reasons, unread } = outcome.reading
    const next = afterAgentReview(rule, { score, verdict }, (await agentRounds(trx, change.id)).returned)
    await record(trx, change, row, outcome, next === 'return')
    if (next === 'return') {
      const reason = `the agent reviewer asks for changes (score ${score} of 100, ${rule.minimumScore} wanted): ${reasons.join(' ')}`
      await deps.tickets.returned(trx, {
        ticketId: change.ticket_id, failureClass: 'policy', reason, correlationId: row.correlation_id,
        evidence: { failureClass: 'policy', reason, findings: [], checkOutput: '', conflict: '', comments: await comments.batch(trx, change.id) },
      })
      return
    }
    const warnings = [
      ...payload.warnings, ...(isContent(rule, { score, verdict }) ? [] : [`The agent reviewer would not merge it (${verdict}, score ${score} of 100, ${rule.minimumScore} wanted): ${reasons.join(' ')}`]),
      ...(unread.length === 0 ? [] : [`The agent reviewer did not read all of it: ${unread.slice(0, 20).join(', ')}${unread.length > 20 ? ` and ${unread.length - 20} more` : ''}`]),
    ]
    await ask({ ...payload, warnings, review: { ...about, score, verdict, reasons: [...reasons], unread: unread.slice(0, 200), failed: null } })
  }

  async function record(trx: Trx, change: ChangeRow, row: AgentReviewRow, outcome: Extract<Outcome, { kind: 'read' }>, returned: boolean): Promise<void> {
    const id = deps.makeId('review')
    const at = deps.now()
    const ids: string[] = []
    for (const { path, startLine, line, body, quoted } of outcome.placed) {
      ids.push(deps.makeId('comment'))
      await insertComment(trx, {
        id: ids.at(-1) ?? '', change_id: change.id, project_id: change.project_id, review_id: id, parent_id: null, author: AGENT_REVIEWER, base_sha: change.base_sha, head_sha: change.head_sha,
        path, side: 'new', start_line: startLine, line, quoted, body, resolved_by: null, resolved_at: null, sent_at: at, created_at: at,
      })
    }
    const { score, verdict, reasons } = outcome.reading
    // It counts for nobody: an agent never approves.
    await recordReview(trx, change, {
      id, change_id: change.id, project_id: change.project_id, approval_id: null, head_sha: change.head_sha, reviewer: AGENT_REVIEWER, kind: 'agent', verdict, counts: 0, summary: '', score,
      reasons: JSON.stringify(reasons), returned: returned ? 1 : 0, correlation_id: row.correlation_id, created_at: at,
    }, ids, { returned, servedBy: deps.servedBy })
  }

  async function afterFault(trx: Trx, row: AgentReviewRow, error: unknown): Promise<void> {
    const free = { owner: null, lease_expires_at: null }
    if (stopping.signal.aborted) {
      await patchAgentReview(trx, row, free)
      return
    }
    const known = error instanceof DomainError ? error : null
    const problem = known?.message ?? (error instanceof Error ? error.message : String(error))
    const approvalId = known?.code === 'budget_exhausted' ? known.details['approvalId'] : undefined
    const tries = row.tries + 1
    if (typeof approvalId === 'string') await patchAgentReview(trx, row, { ...free, waits_approval_id: approvalId, failure: `the decision about the budget: swarm approval show ${approvalId}` })
    else if (tries < MAX_TRIES && (known === null || PASSING.includes(known.code))) {
      await patchAgentReview(trx, row, { ...free, tries, retry_at: deps.now() + afterOverload(tries, 0, Math.random()), failure: `its next try, after ${problem}` })
    } else await conclude(trx, row, { kind: 'failed', problem })
    wake(trx, 'work')
    if (known === null) deps.onError(error, `the agent review of ${row.change_id}`)
  }

  return {
    duty: {
      name: 'agent reviews',
      async run() {
        if (running.size >= AT_ONCE || stopping.signal.aborted) return false
        const row = await nextAgentReview(db.read, { owner, now: deps.now(), orphaned: db.dialect === 'sqlite', except: [...running.keys()] })
        if (!row || !await db.write((trx) => takeAgentReview(trx, row, { owner, until: deps.now() + LEASE_MS }))) return false
        start(row)
        return true
      },
      nextAt: () => nextAgentReviewAt(db.read, deps.now()),
    },
    async idle() {
      while (running.size > 0) await Promise.all(running.values())
    },
    async [Symbol.asyncDispose]() {
      stopping.abort(new Error('the server is stopping'))
      await Promise.all(running.values())
    },
  }
}
