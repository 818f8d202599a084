import type { MicroVmUsage } from '@swarm/contract/endpoints/runners.ts'
import type { VmUsage } from '@swarm/contract/runner-protocol.ts'
import type { Duty } from '../../coordinator/duty.ts'
import type { Database, Read } from '../../db/database.ts'
import { afterCommit, signal, type Trx } from '../../db/unit.ts'
import { presentUsage } from './present.ts'
import { currentUsage, keepSamples, liveVmsOf, pausedOrResumedSince, putUsage, removeSamples, usageOf, type UsageRow } from './queries.ts'

/** At most one sample of a microVM is kept in so many ms; its current values are newer. */
const KEEP_EVERY_MS = 30_000
/** Samples removed in one unit, and how often retention looks, ms. */
const REMOVED_AT_ONCE = 2_000
const RETENTION_EVERY_MS = 3_600_000
/** A measurement may have been on its way for so long when its runner said that it has paused or resumed a microVM, ms. */
const UNDER_WAY_MS = 15_000
const DAY_MS = 24 * 3_600_000

/** Woken (db.wake) when current values have changed. */
export const VM_USAGE_TOPIC = 'vm-usage'

/** CPU time and egress since the measurement before, for counters. */
export interface UsageGrowth { readonly driver: string; readonly cpuMs: number; readonly egressBytes: number }

export interface UsageDependencies {
  readonly now: number
  readonly recordPause: (trx: Trx, vmId: string, paused: boolean) => Promise<void>
  readonly onGrowth: (growth: readonly UsageGrowth[]) => void
}

/** Records what microVMs of this runner use, and whether they stand still. Those of others, and those that are over, are left out. */
export async function recordUsage(trx: Trx, { now, recordPause, onGrowth }: UsageDependencies, runnerId: string, usage: readonly VmUsage[]): Promise<void> {
  const live = new Map((await liveVmsOf(trx, runnerId, usage.map(({ vmId }) => vmId))).map((vm) => [vm.id, vm]))
  const current = new Map(usage.filter(({ vmId }) => live.has(vmId)).map((each) => [each.vmId, each]))
  if (current.size === 0) return
  // A runner may pause or resume one for an operation that has expired meanwhile.
  for (const { vmId, paused } of current.values()) {
    if ((live.get(vmId)?.paused === 1) !== paused && !await pausedOrResumedSince(trx, vmId, now - UNDER_WAY_MS)) await recordPause(trx, vmId, paused)
  }
  const before = new Map((await usageOf(trx, [...current.keys()])).map((row) => [row.vm_id, row]))
  const growth: UsageGrowth[] = []
  const rows = [...current.values()].map((each): UsageRow => {
    const last = before.get(each.vmId)
    const cpuMs = Math.max(0, each.cpuMs - (last?.cpu_ms ?? 0))
    // By the runner's own clock: reports come when they come.
    const wallMs = each.uptimeMs - (last?.uptime_ms ?? 0)
    growth.push({ driver: live.get(each.vmId)?.driver ?? '', cpuMs, egressBytes: Math.max(0, each.egressBytes - (last?.egress_bytes ?? 0)) })
    return {
      vm_id: each.vmId, sampled_at: now, kept_at: last !== undefined && now - last.kept_at < KEEP_EVERY_MS ? last.kept_at : now, peak_rss_bytes: Math.max(last?.peak_rss_bytes ?? 0, each.rssBytes),
      cpu_ms: each.cpuMs, rss_bytes: each.rssBytes, pss_bytes: each.pssBytes, scratch_bytes: each.scratchBytes, egress_bytes: each.egressBytes, open_forwards: each.openForwards,
      uptime_ms: each.uptimeMs, paused: each.paused ? 1 : 0, cpu_millicores: wallMs > 0 ? Math.round((cpuMs / wallMs) * 1_000) : last?.cpu_millicores ?? 0,
    }
  })
  await putUsage(trx, rows)
  const kept = rows.filter((row) => row.kept_at === now).map(({ sampled_at: at, kept_at: _, peak_rss_bytes: __, ...row }) => ({ ...row, at }))
  if (kept.length > 0) await keepSamples(trx, kept)
  signal(trx, VM_USAGE_TOPIC)
  afterCommit(trx, () => { onGrowth(growth) })
}

/** What microVMs that are not over use, at most 1,000 of them. */
export async function usageNow(read: Read): Promise<(MicroVmUsage & { vmId: string; runnerId: string; projectId: string })[]> {
  return (await currentUsage(read)).map((row) => ({ vmId: row.vm_id, runnerId: row.runner_id, projectId: row.project_id, ...presentUsage(row) }))
}

/** Removes samples that are older than retention keeps them. */
export function samplesDuty(deps: { db: Database; now: () => number; days: number }): Duty {
  let dueAt = deps.now()
  return {
    name: 'samples of microVMs',
    async run() {
      if (deps.now() < dueAt) return false
      if (await deps.db.write((trx) => removeSamples(trx, deps.now() - deps.days * DAY_MS, REMOVED_AT_ONCE)) > 0) return true
      dueAt = deps.now() + RETENTION_EVERY_MS
      return false
    },
    nextAt: async () => dueAt,
  }
}
