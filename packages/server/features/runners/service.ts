import { DomainError } from '@swarm/core/errors.ts'
import type { Selectable } from 'kysely'
import { afterCommit, type Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import type { Database, Read } from '../../db/database.ts'
import { json } from '../../db/json.ts'
import type { VmsTable } from '../../db/schema.ts'
import type { Duty } from '../../coordinator/duty.ts'
import { earliestSeenWithVms, firstSeenBoot, insertRunner, liveVmsOf, lockedRunner, putVm, runnerById, runnerByName, setPaused, touchRunner, vmById, vmsOfSilentRunners } from './queries.ts'

export interface KnownRunner { id: string; name: string; isolates: boolean; bootId: string | null; /** False of one that is drained or was taken away. */ takesNew: boolean }

/** `lock`: held against other writers until the unit ends. */
export async function requireRunner(trx: Trx | Read, id: string, lock = false): Promise<KnownRunner> {
  const row = lock ? await lockedRunner(trx, id) : await runnerById(trx, id)
  if (!row) throw new DomainError('not_found', { kind: 'runner', id })
  return { id: row.id, name: row.name, isolates: row.isolates === 1, bootId: row.boot_id, takesNew: row.draining_at === null && row.removed_at === null }
}

/**
 * Whether this is the first call of a new process of the runner, which then holds nothing yet. `known` is locked.
 * @throws runner_superseded when a newer process has replaced this one: a paused one that came back, or a request that was long on its way
 */
export async function isNewProcess(trx: Trx, known: KnownRunner, bootId: string, now: number): Promise<boolean> {
  if (known.bootId === bootId) return false
  if (known.bootId !== null) await firstSeenBoot(trx, known.id, known.bootId, now)
  if (await firstSeenBoot(trx, known.id, bootId, now)) return true
  throw new DomainError('runner_superseded', { name: known.name })
}

/** The runner of this name, made when it is new. */
export async function registerRunner(trx: Trx, input: { name: string; id: string; now: number }): Promise<{ id: string; name: string }> {
  const known = await runnerByName(trx, input.name)
  if (known) {
    if (known.removed_at !== null) await touchRunner(trx, known.id, { removed_at: null })
    return { id: known.id, name: known.name }
  }
  await insertRunner(trx, { id: input.id, name: input.name, boot_id: null, driver: null, isolates: null, capacity: 0, seen_at: null, created_at: input.now, no_room: null })
  return { id: input.id, name: input.name }
}

export async function sawRunner(trx: Trx, id: string, seen: { bootId: string; driver?: string; isolates?: boolean; capacity?: number; noRoom?: string | null; now: number }): Promise<void> {
  await touchRunner(trx, id, {
    seen_at: seen.now, boot_id: seen.bootId, ...(seen.noRoom === undefined ? {} : { no_room: seen.noRoom }),
    ...(seen.driver === undefined ? {} : { driver: seen.driver, isolates: seen.isolates ? 1 : 0, capacity: seen.capacity ?? 0 }),
  })
}

export interface VmReport {
  id: string; state: 'starting' | 'running' | 'ended'; driver: string; templateKey: string; imageDigest: string | null; restoreMs?: number | undefined
  endReason?: string | undefined; endDetail?: string | undefined; size?: object | undefined; limits?: object | undefined; parentId?: string | undefined
  workKind: string; workId: string; ticketId: string | null; projectId: string
}

/** Told after the commit of each new state of a microVM. */
export type OnVm = (vm: VmReport) => void

/** Records a microVM as its runner tells it; a state never goes back. */
export async function recordVm(trx: Trx, runnerId: string, vm: VmReport, now: number, onVm: OnVm = () => {}): Promise<void> {
  const order = ['starting', 'running', 'ended']
  const known = await vmById(trx, vm.id)
  if (known && (known.runner_id !== runnerId || order.indexOf(known.state) >= order.indexOf(vm.state))) return
  await putVm(trx, {
    id: vm.id, runner_id: runnerId, work_kind: vm.workKind, work_id: vm.workId, ticket_id: vm.ticketId, project_id: vm.projectId,
    driver: vm.driver, template_key: vm.templateKey, image_digest: vm.imageDigest ?? known?.image_digest ?? null, state: vm.state, restore_ms: vm.restoreMs === undefined ? known?.restore_ms ?? null : Math.round(vm.restoreMs),
    end_reason: vm.endReason ?? null, end_detail: vm.endDetail ?? null, size: vm.size === undefined ? known?.size ?? null : json(vm.size), limits: vm.limits === undefined ? known?.limits ?? null : json(vm.limits),
    parent_id: vm.parentId ?? known?.parent_id ?? null, paused: vm.state === 'ended' ? 0 : known?.paused ?? 0, started_at: known?.started_at ?? now, ended_at: vm.state === 'ended' ? now : null,
  })
  await appendEvents(trx, [{
    type: 'vm:update', projectId: vm.projectId, subject: { kind: 'vm', id: vm.id }, correlationId: vm.workId,
    data: { state: vm.state, driver: vm.driver, imageDigest: vm.imageDigest, workKind: vm.workKind, workId: vm.workId, ticketId: vm.ticketId, restoreMs: vm.restoreMs === undefined ? null : Math.round(vm.restoreMs), endReason: vm.endReason ?? null, endDetail: vm.endDetail ?? null },
  }])
  afterCommit(trx, () => { onVm(vm) })
}

/** Records that a microVM stands still, or goes on. Nothing when it is over or was so already. */
export async function recordPause(trx: Trx, vmId: string, paused: boolean): Promise<void> {
  if (!await setPaused(trx, vmId, paused)) return
  const vm = await vmById(trx, vmId)
  if (!vm) return
  await appendEvents(trx, [{
    type: 'vm:update', projectId: vm.project_id, subject: { kind: 'vm', id: vm.id }, correlationId: vm.work_id,
    data: { state: vm.state, paused, driver: vm.driver, workKind: vm.work_kind, workId: vm.work_id, ticketId: vm.ticket_id },
  }])
}

/** Ends the records of these microVMs. Returns how many were still taken for alive. */
async function endVms(trx: Trx, gone: readonly Selectable<VmsTable>[], endReason: string, now: number, onVm?: OnVm): Promise<number> {
  for (const vm of gone) {
    await recordVm(trx, vm.runner_id, {
      id: vm.id, state: 'ended', driver: vm.driver, templateKey: vm.template_key, imageDigest: vm.image_digest, endReason,
      workKind: vm.work_kind, workId: vm.work_id, ticketId: vm.ticket_id, projectId: vm.project_id,
    }, now, onVm)
  }
  return gone.length
}

/** The microVMs of an earlier process of this runner are gone: the new one reclaimed them before its first claim. */
export async function endVmsOf(trx: Trx, runnerId: string, now: number, onVm?: OnVm): Promise<void> {
  await endVms(trx, await liveVmsOf(trx, runnerId), 'runner restarted', now, onVm)
}

/** A microVM that its runner no longer has is over. Young ones are left: this list may have been made before their start was reported. */
export async function endMissingVms(trx: Trx, runnerId: string, present: readonly string[], now: number, graceMs: number, onVm?: OnVm): Promise<void> {
  const missing = (await liveVmsOf(trx, runnerId)).filter((vm) => !present.includes(vm.id) && vm.started_at < now - graceMs)
  await endVms(trx, missing, 'its runner no longer has it', now, onVm)
}

/** Whether the runner has this microVM on record: only then may its end be told when the work is no longer held. */
export async function isVmOf(trx: Trx, runnerId: string, vmId: string): Promise<boolean> {
  return (await vmById(trx, vmId))?.runner_id === runnerId
}

/** Records handled in one unit. */
const BATCH = 50

/**
 * Ends the records of microVMs whose runner has been silent for longer than a lease: its process is dead or cut off, and it
 * ends them itself (a dead one by the kernel, a cut off one when it finds its leases over). A server that has just started
 * waits for a lease first: it was itself the one that did not hear.
 */
export function silentRunnersDuty(deps: { db: Database; now: () => number; leaseTtlMs: number; onVm?: OnVm }): Duty {
  const listeningSince = deps.now()
  return {
    name: 'microVMs of silent runners',
    run: async () => {
      const now = deps.now()
      if (now - listeningSince <= deps.leaseTtlMs) return false
      const gone = await vmsOfSilentRunners(deps.db.read, now - deps.leaseTtlMs, BATCH)
      if (gone.length === 0) return false
      return await deps.db.write((trx) => endVms(trx, gone, 'its runner was not heard from within the lease', now, deps.onVm)) > 0
    },
    nextAt: async () => {
      const seenAt = await earliestSeenWithVms(deps.db.read)
      return seenAt === null ? null : Math.max(seenAt, listeningSince) + deps.leaseTtlMs + 1
    },
  }
}
