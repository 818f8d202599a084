import { DomainError } from '@swarm/core/errors.ts'
import type { Trx } from '../../db/unit.ts'
import { appendEvents } from '../../events/events.ts'
import { insertRunner, liveVmsOf, lockedRunner, putVm, runnerById, runnerByName, touchRunner, vmById } from './queries.ts'

export interface KnownRunner { id: string; name: string; isolates: boolean; bootId: string | null }

/** `lock`: held against other writers until the unit ends. */
export async function requireRunner(trx: Trx, id: string, lock = false): Promise<KnownRunner> {
  const row = lock ? await lockedRunner(trx, id) : await runnerById(trx, id)
  if (!row) throw new DomainError('not_found', { kind: 'runner', id })
  return { id: row.id, name: row.name, isolates: row.isolates === 1, bootId: row.boot_id }
}

/** The runner of this name, made when it is new. */
export async function registerRunner(trx: Trx, input: { name: string; id: string; now: number }): Promise<{ id: string; name: string }> {
  const known = await runnerByName(trx, input.name)
  if (known) return { id: known.id, name: known.name }
  await insertRunner(trx, { id: input.id, name: input.name, boot_id: null, driver: null, isolates: null, capacity: 0, seen_at: null, created_at: input.now })
  return { id: input.id, name: input.name }
}

export async function sawRunner(trx: Trx, id: string, seen: { bootId?: string; driver?: string; isolates?: boolean; capacity?: number; now: number }): Promise<void> {
  await touchRunner(trx, id, {
    seen_at: seen.now,
    ...(seen.driver === undefined ? {} : { boot_id: seen.bootId ?? null, driver: seen.driver, isolates: seen.isolates ? 1 : 0, capacity: seen.capacity ?? 0 }),
  })
}

export interface VmReport {
  id: string; state: 'starting' | 'running' | 'ended'; driver: string; templateKey: string; imageDigest: string | null; restoreMs?: number | undefined; endReason?: string | undefined
  workKind: string; workId: string; ticketId: string | null; projectId: string
}

/** Records a microVM as its runner tells it; a state never goes back. */
export async function recordVm(trx: Trx, runnerId: string, vm: VmReport, now: number): Promise<void> {
  const order = ['starting', 'running', 'ended']
  const known = await vmById(trx, vm.id)
  if (known && (known.runner_id !== runnerId || order.indexOf(known.state) >= order.indexOf(vm.state))) return
  await putVm(trx, {
    id: vm.id, runner_id: runnerId, work_kind: vm.workKind, work_id: vm.workId, ticket_id: vm.ticketId, project_id: vm.projectId,
    driver: vm.driver, template_key: vm.templateKey, image_digest: vm.imageDigest ?? known?.image_digest ?? null, state: vm.state, restore_ms: vm.restoreMs === undefined ? known?.restore_ms ?? null : Math.round(vm.restoreMs),
    end_reason: vm.endReason ?? null, started_at: known?.started_at ?? now, ended_at: vm.state === 'ended' ? now : null,
  })
  await appendEvents(trx, [{
    type: 'vm:update', projectId: vm.projectId, subject: { kind: 'vm', id: vm.id }, correlationId: vm.workId,
    data: { state: vm.state, driver: vm.driver, imageDigest: vm.imageDigest, workKind: vm.workKind, workId: vm.workId, ticketId: vm.ticketId, restoreMs: vm.restoreMs === undefined ? null : Math.round(vm.restoreMs), endReason: vm.endReason ?? null },
  }])
}

/** The microVMs of an earlier process of this runner are gone: the new one reclaimed them before its first claim. */
export async function endVmsOf(trx: Trx, runnerId: string, now: number): Promise<void> {
  for (const vm of await liveVmsOf(trx, runnerId)) {
    await recordVm(trx, runnerId, {
      id: vm.id, state: 'ended', driver: vm.driver, templateKey: vm.template_key, imageDigest: vm.image_digest, endReason: 'runner restarted',
      workKind: vm.work_kind, workId: vm.work_id, ticketId: vm.ticket_id, projectId: vm.project_id,
    }, now)
  }
}
