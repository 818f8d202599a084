import type { MicroVm, MicroVmUsage } from '@swarm/contract/endpoints/runners.ts'
import type { MicroVmDetail, VmOperation } from '@swarm/contract/endpoints/vms.ts'
import { VmHeldTo, VmSize } from '@swarm/contract/runner-protocol.ts'
import { OperationInput } from '@swarm/contract/vm-operations.ts'
import type { Selectable } from 'kysely'
import { fromJson } from '../../db/json.ts'
import type { VmsTable } from '../../db/schema.ts'
import type { OperationRow, UsageRow, VmView } from './queries.ts'

export function presentUsage(row: UsageRow): MicroVmUsage {
  return { ...measured(row), peakRssBytes: row.peak_rss_bytes, sampledAt: row.sampled_at }
}

export function measured(row: Omit<UsageRow, 'vm_id' | 'sampled_at' | 'kept_at' | 'peak_rss_bytes'>): Omit<MicroVmUsage, 'peakRssBytes' | 'sampledAt'> {
  return {
    cpuMs: row.cpu_ms, rssBytes: row.rss_bytes, pssBytes: row.pss_bytes, scratchBytes: row.scratch_bytes, egressBytes: row.egress_bytes,
    openForwards: row.open_forwards, uptimeMs: row.uptime_ms, paused: row.paused === 1, cpuMillicores: row.cpu_millicores,
  }
}

export function presentVm(row: Selectable<VmsTable>, usage: UsageRow | undefined): MicroVm {
  return {
    id: row.id, runnerId: row.runner_id, workKind: row.work_kind, workId: row.work_id, ticketId: row.ticket_id, projectId: row.project_id, driver: row.driver,
    state: row.state, restoreMs: row.restore_ms, endReason: row.end_reason, startedAt: row.started_at, endedAt: row.ended_at, paused: row.paused === 1, parentId: row.parent_id,
    usage: usage === undefined ? null : presentUsage(usage),
  }
}

export function presentDetail({ vm, runner, ticketTitle, usage }: VmView, operations: readonly OperationRow[]): MicroVmDetail {
  return {
    ...presentVm(vm, usage), runnerName: runner.name, ticketTitle, templateKey: vm.template_key, imageDigest: vm.image_digest,
    size: vm.size === null ? null : fromJson(VmSize, vm.size), limits: vm.limits === null ? null : fromJson(VmHeldTo, vm.limits), endDetail: vm.end_detail, operations: operations.map(presentOperation),
  }
}

export function presentOperation(row: OperationRow): VmOperation {
  const input = fromJson(OperationInput, row.input)
  return {
    id: row.id, vmId: row.vm_id, kind: input.kind, state: row.state, requestedBy: row.requested_by, argv: 'start' in input ? input.start.argv : null, reason: row.reason,
    exitCode: row.exit_code, failure: row.failure, createdAt: row.created_at, endedAt: row.ended_at,
  }
}
