import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { ModelPrice } from '@swarm/core/budgets/prices.ts'
import { decideReservation, left, settle, totalInput, type CallShape, type CallUsage, type Ceiling } from '@swarm/core/budgets/reserve.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Database } from '../../db/database.ts'
import { signal as wakeAfterCommit, type Trx } from '../../db/unit.ts'
import { appendEvents, type NewEvent } from '../../events/events.ts'
import { newId } from '../../ids.ts'
import { ceilingsOf, keyOf, tellThresholds } from './ceilings.ts'
import { attemptForCall, insertCall, openCalls, settleCall, type CallRow } from './queries.ts'

/*
 * The ledger of model calls. A row is opened with its reservation before the call and settled after it, each in one
 * transaction under the locks of its session and project; spent + reserved never exceeds any ceiling.
 */

/** Topic that is signalled when a reservation was given back. */
export const SETTLED_TOPIC = 'model:settled'

/** On whose behalf a call is made: an attempt (by its token), or a step of the server's own or an administrator. */
export type Caller =
  | { readonly kind: 'attempt'; readonly attemptId: string; readonly fence: number; readonly role: string }
  | { readonly kind: 'server'; readonly projectId: string; readonly sessionId: string | null; readonly ticketId?: string | null; readonly role: string; readonly step: string | null; readonly correlationId: string }

/** A caller with what the database says about it. */
export interface Subject {
  readonly projectId: string; readonly sessionId: string | null; readonly ticketId: string | null; readonly attemptId: string | null
  readonly role: string; readonly step: string | null; readonly correlationId: string
  readonly ticketKey: string; readonly ticketTitle: string; readonly attemptNumber: number
}

export interface OpenCall {
  readonly id: string
  readonly subject: Subject
  /** Set aside for it, in both units. */
  readonly reserved: { readonly microUsd: number; readonly tokens: number }
  readonly maxTokens: number
  readonly startedAt: number
}

export interface Outcome {
  /** HTTP status that the provider answered with, 529 when it was left alone since it is overloaded; null when it gave none. */
  readonly status: number | null
  /** Null: not known, so the whole reservation is recorded, marked estimated. */
  readonly usage: CallUsage | null
  readonly tries: number
  readonly requestDigest: string | null
  readonly responseDigest: string | null
}

export const NOTHING_SERVED: CallUsage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWrite5mTokens: 0, cacheWrite1hTokens: 0 }

/** Puts before a person that a ceiling was met, in the transaction of the refusal. Returns the id of the approval. */
export type OnBreach = (trx: Trx, breach: { ceiling: Ceiling; needed: number; subject: Subject }) => Promise<string>

export interface LedgerOptions {
  readonly db: Database
  readonly provider: string
  readonly onBreach?: OnBreach
}

export function createLedger(options: LedgerOptions) {
  const { db } = options
  const owner = `${hostname()}/${process.pid}/${randomUUID()}`

  return {
    owner,
    /** Sets money aside for a call, or says that it must wait. @throws DomainError attempt_over | budget_exhausted | not_found */
    async reserve(caller: Caller, model: string, shape: CallShape, price: ModelPrice): Promise<OpenCall | 'wait'> {
      const id = newId('call')
      const result = await db.write(async (trx) => {
        const subject = await subjectOf(trx, caller)
        const ceilings = await ceilingsOf(trx, subject)
        const decision = decideReservation(shape, price, ceilings)
        if (decision.kind === 'wait') return 'wait' as const
        const now = Date.now()
        const row: CallRow = {
          id, project_id: subject.projectId, session_id: subject.sessionId, ticket_id: subject.ticketId, attempt_id: subject.attemptId,
          role: subject.role, step: subject.step, provider: options.provider, model, state: 'open', estimated: 0,
          reserved_micro_usd: 0, cost_micro_usd: null, reserved_tokens: 0, tokens: null, ceiling: null, approval_id: null, input_tokens: null, output_tokens: null, cache_read_tokens: null, cache_write_tokens: null,
          status: null, tries: 0, request_digest: null, response_digest: null, correlation_id: subject.correlationId, owner, created_at: now, ended_at: null,
        }
        if (decision.kind === 'breach') {
          const { ceiling, needed } = decision
          const approvalId = await options.onBreach?.(trx, { ceiling, needed, subject }) ?? null
          await insertCall(trx, { ...row, state: 'refused', cost_micro_usd: 0, tokens: 0, ended_at: now, ceiling: keyOf(ceiling), approval_id: approvalId })
          await appendEvents(trx, [breachEvent(subject, { callId: id, state: 'refused', model, needed, approvalId }, ceiling)])
          // Nothing fits any more: for people that is all of it.
          await tellThresholds(trx, subject, [ceiling], () => [100])
          return { breach: { ...decision, approvalId } }
        }
        await insertCall(trx, { ...row, reserved_micro_usd: decision.microUsd, reserved_tokens: decision.tokens })
        await appendEvents(trx, [callEvent(subject, 'model:reserved', { callId: id, state: 'open', provider: options.provider, model, reservedMicroUsd: decision.microUsd, reservedTokens: decision.tokens, maxTokens: decision.maxTokens })])
        return { open: { id, subject, reserved: { microUsd: decision.microUsd, tokens: decision.tokens }, maxTokens: decision.maxTokens, startedAt: now } }
      })
      if (result === 'wait') return result
      if ('open' in result && result.open) return result.open
      const { ceiling, needed, approvalId } = result.breach
      throw new DomainError('budget_exhausted', {
        kind: ceiling.kind, id: ceiling.id, unit: ceiling.unit === 'tokens' ? 'tokens' : 'micro-dollars', cap: ceiling.cap, needed, left: left(ceiling), approvalId,
      })
    },

    /** Ends a call and gives back what it did not use. Repeating it changes nothing. Returns what was recorded. */
    async settle(call: OpenCall, model: string, price: ModelPrice, outcome: Outcome): Promise<{ costMicroUsd: number; estimated: boolean }> {
      const { costMicroUsd, tokens, estimated } = settle(call.reserved, outcome.usage, price)
      const usage = outcome.usage
      await db.write(async (trx) => {
        const now = Date.now()
        const changed = await settleCall(trx, call.id, {
          cost_micro_usd: costMicroUsd, tokens, estimated: estimated ? 1 : 0, status: outcome.status, tries: outcome.tries,
          input_tokens: usage?.inputTokens ?? null, output_tokens: usage?.outputTokens ?? null, cache_read_tokens: usage?.cacheReadTokens ?? null,
          cache_write_tokens: usage ? usage.cacheWrite5mTokens + usage.cacheWrite1hTokens : null,
          request_digest: outcome.requestDigest, response_digest: outcome.responseDigest, ended_at: now,
        })
        if (!changed) return
        await appendEvents(trx, [callEvent(call.subject, 'model:call', {
          callId: call.id, state: 'settled', provider: options.provider, model, status: outcome.status, tries: outcome.tries, costMicroUsd, estimated,
          tokens, inputTokens: usage ? totalInput(usage) : null, outputTokens: usage?.outputTokens ?? null, wallMs: now - call.startedAt,
        })])
        // A call that cost nothing takes no locks: nothing is reached by it.
        if (costMicroUsd > 0 || tokens > 0) await tellThresholds(trx, call.subject, await ceilingsOf(trx, call.subject))
        wakeAfterCommit(trx, SETTLED_TOPIC)
      })
      return { costMicroUsd, estimated }
    },

    /**
     * Settles calls of processes that are gone to their whole reservation: nobody knows what they were served.
     * On SQLite every other process is gone (one at a time holds the file); on PostgreSQL those of this host that do not run.
     * Any that is older than the longest call, our own too: its settlement failed.
     * @returns how many were settled
     */
    async settleDead(longestCallMs: number): Promise<number> {
      const dead = (await openCalls(db.read)).filter((call) => call.created_at < Date.now() - longestCallMs || (call.owner !== owner && (db.dialect === 'sqlite' || ownerIsGone(call.owner))))
      for (const call of dead) {
        await db.write(async (trx) => {
          const changed = await settleCall(trx, call.id, { cost_micro_usd: call.reserved_micro_usd, tokens: call.reserved_tokens, estimated: 1, ended_at: Date.now() })
          if (!changed) return
          const subject: Subject = {
            projectId: call.project_id, sessionId: call.session_id, ticketId: call.ticket_id, attemptId: call.attempt_id, role: call.role, step: call.step,
            correlationId: call.correlation_id, ticketKey: '', ticketTitle: '', attemptNumber: 0,
          }
          await appendEvents(trx, [callEvent(subject, 'model:call', { callId: call.id, state: 'settled', provider: call.provider, model: call.model, status: null, tries: call.tries, costMicroUsd: call.reserved_micro_usd, tokens: call.reserved_tokens, estimated: true, inputTokens: null, outputTokens: null, wallMs: Date.now() - call.created_at })])
          await tellThresholds(trx, subject, await ceilingsOf(trx, subject))
          wakeAfterCommit(trx, SETTLED_TOPIC)
        })
      }
      return dead.length
    },
  }
}

async function subjectOf(trx: Trx, caller: Caller): Promise<Subject> {
  if (caller.kind === 'server') {
    return { projectId: caller.projectId, sessionId: caller.sessionId, ticketId: caller.ticketId ?? null, attemptId: null, role: caller.role, step: caller.step, correlationId: caller.correlationId, ticketKey: '', ticketTitle: '', attemptNumber: 1 }
  }
  const attempt = await attemptForCall(trx, caller.attemptId)
  if (!attempt || attempt.state !== 'running' || attempt.fence !== caller.fence || attempt.ticket_fence !== caller.fence) throw new DomainError('attempt_over', { attemptId: caller.attemptId })
  return {
    projectId: attempt.project_id, sessionId: attempt.session_id, ticketId: attempt.ticket_id, attemptId: attempt.id, role: caller.role, step: null,
    correlationId: attempt.correlation_id, ticketKey: attempt.key, ticketTitle: attempt.title, attemptNumber: attempt.number,
  }
}

function place(subject: Subject): Pick<NewEvent, 'projectId' | 'subject' | 'correlationId'> {
  const about = subject.ticketId !== null ? { kind: 'ticket', id: subject.ticketId } : subject.sessionId !== null ? { kind: 'session', id: subject.sessionId } : { kind: 'project', id: subject.projectId }
  return { projectId: subject.projectId, subject: about, correlationId: subject.correlationId }
}

/** Every state that a call's row gets into is an event with the call's id and that state: reserved (open), breach (refused), call (settled). */
function callEvent(subject: Subject, type: 'model:reserved' | 'model:call' | 'budget:breach', data: Record<string, unknown>): NewEvent {
  return { ...place(subject), type, data: { ...data, role: subject.role, step: subject.step, projectId: subject.projectId, sessionId: subject.sessionId, ticketId: subject.ticketId, attemptId: subject.attemptId } }
}

function breachEvent(subject: Subject, refused: Record<string, unknown>, ceiling: Ceiling): NewEvent {
  const { kind, id, unit, cap, spent } = ceiling
  return callEvent(subject, 'budget:breach', { ...refused, ceiling: kind, ceilingId: id, unit, cap, spent })
}

/** Whether the process behind an owner mark certainly does not run: it was on this host, and its pid is free. */
function ownerIsGone(owner: string): boolean {
  const [host, pid] = owner.split('/')
  if (host !== hostname() || pid === undefined) return false
  if (Number(pid) === process.pid) return true
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH'
  }
}
