import type { ForkedVm, Operation, OperationInput } from '@swarm/contract/vm-operations.ts'
import { OperationInput as Input } from '@swarm/contract/vm-operations.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { z } from 'zod'
import type { Duty } from '../../coordinator/duty.ts'
import type { Database } from '../../db/database.ts'
import { fromJson, json } from '../../db/json.ts'
import { signal as wakeAfterCommit, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { presentOperation } from './present.ts'
import { earliestExpiry, insertOperation, knownVms, operationById, overdueOperations, settleOperation, takeQueued, updateOperation, vmsOfWork, vmView, type OperationRow, type VmView } from './queries.ts'

/** A runner that was not heard from for so long is not asked, ms (the lease of its work). */
const ONLINE_MS = 30_000
/** So long a runner may take for what has no stream, and to take up what has one, ms. */
export const ANSWER_MS = 30_000
/** Added to the limit of an exec or a shell for its start and its end, ms. */
const STREAM_GRACE_MS = 60_000
/** A fork writes and loads the whole memory of a microVM, and its children wait for their guests (start-vm.ts). */
const FORK_MS = 600_000
/** Woken (db.wake) when an operation was asked for, or has ended. */
const TOPIC = 'vm-operations'

export interface OperationDependencies {
  readonly db: Database
  readonly now: () => number
  readonly makeId: (kind: 'operation') => string
  readonly recordPause: (trx: Trx, vmId: string, paused: boolean) => Promise<void>
  /** Records a microVM in a new state (features/runners). */
  readonly recordVm: (trx: Trx, runnerId: string, vm: {
    id: string; state: 'running' | 'ended'; driver: string; templateKey: string; imageDigest: string | null; restoreMs?: number; endReason?: string; endDetail?: string
    size?: object; limits?: object; parentId?: string; workKind: string; workId: string; ticketId: string | null; projectId: string
  }, now: number) => Promise<void>
  /** The process of a runner that is not replaced by a newer one. */
  readonly bootOf: (trx: Trx, runnerId: string) => Promise<string | null>
}

/** @throws DomainError not_found */
export async function requireVm(db: Parameters<typeof vmView>[0], id: string): Promise<VmView> {
  const view = await vmView(db, id)
  if (!view) throw new DomainError('not_found', { kind: 'vm', id })
  return view
}

/**
 * Asks the runner of a microVM to do something to it, and records who asked for what.
 * @throws DomainError not_found, vm_not_running, runner_offline
 */
export async function requestOperation(trx: Trx, deps: OperationDependencies, request: { vmId: string; input: OperationInput; requestedBy: string; reason?: string | undefined; correlationId: string }): Promise<{ operation: OperationRow; view: VmView }> {
  const now = deps.now()
  const view = await requireVm(trx, request.vmId)
  const { vm, runner } = view
  // What one that is over wrote its runner may still have.
  if (vm.state !== 'running' && request.input.kind !== 'logs') throw new DomainError('vm_not_running', { id: vm.id, state: vm.state })
  if (runner.seenAt === null || now - runner.seenAt >= ONLINE_MS) throw new DomainError('runner_offline', { name: runner.name, id: vm.id, seconds: Math.round((now - (runner.seenAt ?? now)) / 1_000) })
  const operation: OperationRow = {
    id: deps.makeId('operation'), vm_id: vm.id, runner_id: vm.runner_id, kind: request.input.kind, input: json(request.input), state: 'queued', requested_by: request.requestedBy,
    reason: request.reason ?? null, exit_code: null, failure: null, correlation_id: request.correlationId, created_at: now, expires_at: now + ANSWER_MS, ended_at: null,
  }
  await insertOperation(trx, operation)
  await announce(trx, operation, view)
  return { operation, view }
}

/**
 * Ends an operation, once: whoever comes later changes nothing. Null then.
 * @throws DomainError invalid_input, about children that are not those of a fork as it was asked for
 */
export async function endOperation(trx: Trx, deps: OperationDependencies, id: string, end: { state: 'done' | 'failed' | 'expired'; exitCode?: number | null; failure?: string | null; forked?: readonly z.output<typeof ForkedVm>[] }): Promise<OperationRow | null> {
  const ended = await settleOperation(trx, id, { state: end.state, exit_code: end.exitCode ?? null, failure: end.failure ?? null, ended_at: deps.now() })
  if (!ended) return null
  const problem = await problemOfChildren(trx, ended, (end.forked ?? []).map((child) => child.id))
  if (problem !== null) throw new DomainError('invalid_input', { problem, field: 'body.forked' })
  if (end.state === 'done' && (ended.kind === 'pause' || ended.kind === 'resume')) await deps.recordPause(trx, ended.vm_id, ended.kind === 'pause')
  const view = await requireVm(trx, ended.vm_id)
  const { vm } = view
  const about = { driver: vm.driver, templateKey: vm.template_key, imageDigest: vm.image_digest, ticketId: vm.ticket_id, projectId: vm.project_id }
  if (end.state === 'done') {
    // They are the operation's: no attempt or check answers for them.
    for (const { id: childId, restoreMs, limits } of end.forked ?? []) {
      await deps.recordVm(trx, vm.runner_id, { ...about, id: childId, state: 'running', restoreMs, limits, parentId: vm.id, workKind: 'fork', workId: ended.id, ...(vm.size === null ? {} : { size: JSON.parse(vm.size) as object }) }, deps.now())
    }
    if (ended.kind === 'kill' && vm.work_kind === 'fork') await deps.recordVm(trx, vm.runner_id, { ...about, id: vm.id, state: 'ended', endReason: 'killed', endDetail: ended.reason ?? '', workKind: vm.work_kind, workId: vm.work_id }, deps.now())
  }
  await announce(trx, ended, view)
  return ended
}

/**
 * Records what the runner of an operation says came of it; one that it repeats, since the answer was lost, is answered as the first was.
 * @returns whether it is on record
 * @throws DomainError invalid_input, as endOperation
 */
export async function reportOperation(trx: Trx, deps: OperationDependencies, id: string, { failure, forked = [] }: { failure: string | null; forked?: readonly z.output<typeof ForkedVm>[] | undefined }): Promise<boolean> {
  const state = failure === null ? 'done' : 'failed'
  if (await endOperation(trx, deps, id, { state, failure, forked })) return true
  const ended = await operationById(trx, id)
  const sorted = (ids: readonly string[]): string => ids.toSorted().join()
  return ended?.state === state && ended.failure === failure && sorted(await vmsOfWork(trx, id)) === sorted(forked.map((child) => child.id))
}

async function problemOfChildren(trx: Trx, { state, input: asked }: OperationRow, ids: readonly string[]): Promise<string | null> {
  const input = fromJson(Input, asked)
  if (input.kind !== 'fork' || state !== 'done') return ids.length === 0 ? null : 'only a fork that was done has children'
  if (ids.length === 0 || ids.length > input.count) return `it has ${ids.length} children, asked for were ${input.count}`
  if (new Set(ids).size < ids.length) return 'a child is there twice'
  const known = await knownVms(trx, ids)
  return known.length === 0 ? null : `${known.join(', ')} is on record already`
}

/** The record of what people did: an event at the beginning and one at the end. */
async function announce(trx: Trx, row: OperationRow, { vm }: VmView): Promise<void> {
  const { kind, state, requestedBy, argv, reason, exitCode, failure } = presentOperation(row)
  await appendEvents(trx, [{
    type: 'vm:operation', projectId: vm.project_id, subject: { kind: 'vm', id: vm.id }, correlationId: row.correlation_id,
    data: { operationId: row.id, kind, state, requestedBy, argv, reason, exitCode, failure, runnerId: vm.runner_id, workKind: vm.work_kind, workId: vm.work_id, ticketId: vm.ticket_id },
  }])
  wakeAfterCommit(trx, TOPIC)
}

/** Waits for what people want of the microVMs of a runner. Each is given once: one whose answer is lost expires. */
export async function nextOperations(deps: OperationDependencies, runnerId: string, { bootId, waitMs }: { bootId: string; waitMs: number }, signal: AbortSignal): Promise<Operation[]> {
  const until = performance.now() + waitMs
  using latch = deps.db.wake.latch(TOPIC)
  for (;;) {
    if (signal.aborted) return []
    const taken = await deps.db.write(async (trx) => {
      // A process that claims no work yet has no microVMs, and neither has one that was replaced.
      if (await deps.bootOf(trx, runnerId) !== bootId) return []
      const rows = await takeQueued(trx, runnerId, deps.now())
      for (const row of rows) {
        const input = fromJson(Input, row.input)
        const withinMs = 'start' in input ? input.start.timeoutMs + STREAM_GRACE_MS : input.kind === 'fork' ? FORK_MS : null
        if (withinMs !== null) await updateOperation(trx, row.id, { expires_at: deps.now() + withinMs })
      }
      return rows
    })
    if (taken.length > 0) return taken.map((row) => ({ id: row.id, vmId: row.vm_id, correlationId: row.correlation_id, input: fromJson(Input, row.input) }))
    const leftMs = until - performance.now()
    if (leftMs <= 0) return []
    await latch.wait({ signal, timeoutMs: leftMs })
  }
}

/**
 * Waits until the runner has done it.
 * @throws DomainError vm_operation_failed; vm_operation_expired when the runner did not, and will not any more
 */
export async function untilEnded(deps: OperationDependencies, { operation, view }: { operation: OperationRow; view: VmView }, signal: AbortSignal): Promise<OperationRow> {
  using latch = deps.db.wake.latch(TOPIC)
  for (;;) {
    const row = await operationById(deps.db.read, operation.id) ?? operation
    if (row.state === 'done') return row
    if (row.state === 'failed') throw new DomainError('vm_operation_failed', { kind: row.kind, id: row.vm_id, problem: row.failure })
    const leftMs = row.expires_at - deps.now()
    if (row.state === 'expired' || (leftMs <= 0 && await deps.db.write((trx) => endOperation(trx, deps, row.id, { state: 'expired', failure: 'its runner did not do it in time' })) !== null)) {
      throw new DomainError('vm_operation_expired', { name: view.runner.name, kind: row.kind, id: row.vm_id, seconds: ANSWER_MS / 1_000 })
    }
    // The client is gone; it is done all the same, and recorded.
    if (signal.aborted) return row
    await latch.wait({ signal, timeoutMs: Math.max(1, leftMs) })
  }
}

/** Ends what nobody ended in its time: the server that waited for it, or the runner that had it, is gone. */
export function overdueOperationsDuty(deps: OperationDependencies): Duty {
  return {
    name: 'overdue operations on microVMs',
    async run() {
      const overdue = await overdueOperations(deps.db.read, deps.now(), 50)
      for (const id of overdue) await deps.db.write((trx) => endOperation(trx, deps, id, { state: 'expired', failure: 'nobody said in time what came of it' }))
      return overdue.length > 0
    },
    async nextAt() {
      const at = await earliestExpiry(deps.db.read)
      return at === null ? null : at + 1
    },
  }
}
