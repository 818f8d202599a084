import { VM_END_REASONS } from '@swarm/contract/runner-protocol.ts'
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { TotalsRow } from './queries.ts'
import type { UsageGrowth } from './usage.ts'

/** What ends of microVMs are counted under; a runner's own words are never a label. */
const END_REASONS: ReadonlySet<string> = new Set(VM_END_REASONS)

export interface VmMetrics {
  grew(runner: string, growth: readonly UsageGrowth[]): void
  /** A microVM was recorded in a new state. */
  moved(vm: { driver: string; state: string; restoreMs?: number | undefined; endReason?: string | undefined }): void
}

/**
 * Labels are runner, driver, state and reason; never a microVM. Gauges are read from the database at each scrape, so every replica
 * gives the same; counters are of what this process was told.
 * @param totals what microVMs that are not over use, by runner, driver and state
 */
export function createVmMetrics(registry: Registry, totals: () => Promise<TotalsRow[]>): VmMetrics {
  const registers = [registry]
  const restoreSeconds = new Histogram({ name: 'swarm_vm_restore_seconds', help: 'From the call of restore until a microVM was ready', labelNames: ['driver'], buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60], registers })
  const ends = new Counter({ name: 'swarm_vms_ended_total', help: 'MicroVMs that ended', labelNames: ['driver', 'reason'], registers })
  const cpu = new Counter({ name: 'swarm_vm_cpu_seconds_total', help: 'CPU time that microVMs used on their hosts', labelNames: ['runner', 'driver'], registers })
  const egress = new Counter({ name: 'swarm_vm_egress_bytes_total', help: 'Bytes that left microVMs', labelNames: ['runner', 'driver'], registers })
  // All gauges of one scrape ask at once, and are given the same answer.
  let asked: Promise<TotalsRow[]> | null = null
  const current = (): Promise<TotalsRow[]> => asked ??= totals().finally(() => { asked = null })
  const gauge = (name: string, help: string, value: (row: TotalsRow) => number): void => {
    new Gauge({
      name, help, labelNames: ['runner', 'driver'], registers,
      async collect() {
        const rows = await current()
        this.reset()
        for (const row of rows) this.inc({ runner: row.label, driver: row.driver }, value(row))
      },
    })
  }
  new Gauge({
    name: 'swarm_vms', help: 'MicroVMs that are not over', labelNames: ['runner', 'driver', 'state'], registers,
    async collect() {
      const rows = await current()
      this.reset()
      for (const { label: runner, driver, state, vms, paused } of rows) {
        this.inc({ runner, driver, state }, vms - paused)
        if (paused > 0) this.inc({ runner, driver, state: 'paused' }, paused)
      }
    },
  })
  gauge('swarm_vm_cpu_cores', 'Cores that microVMs use', (row) => row.cpu_millicores / 1_000)
  gauge('swarm_vm_memory_rss_bytes', 'Resident memory of microVMs; pages of a template count once for each', (row) => row.rss_bytes)
  gauge('swarm_vm_memory_pss_bytes', 'Proportional memory of microVMs; add these up for what they really take', (row) => row.pss_bytes)
  gauge('swarm_vm_scratch_bytes', 'What the scratch disks of microVMs take', (row) => row.scratch_bytes)
  gauge('swarm_vm_open_forwards', 'Connections of microVMs that are open', (row) => row.open_forwards)
  return {
    grew(runner, growth) {
      for (const { driver, cpuMs, egressBytes } of growth) {
        cpu.inc({ runner, driver }, cpuMs / 1_000)
        egress.inc({ runner, driver }, egressBytes)
      }
    },
    moved({ driver, state, restoreMs, endReason = '' }) {
      if (state === 'running' && restoreMs !== undefined) restoreSeconds.observe({ driver }, restoreMs / 1_000)
      if (state === 'ended') ends.inc({ driver, reason: END_REASONS.has(endReason) ? endReason : 'lost' })
    },
  }
}
