import { existsSync, rmSync } from 'node:fs'
import { removeCgroup } from '../host/cgroup.ts'
import { isAlive, killProcess, processesWithArgument } from '../host/processes.ts'
import type { VmJournal } from './journal.ts'

/** What was left of a microVM whose runner is gone, and was removed. */
export interface ReclaimedOrphan {
  slot: string
  vmId: string | null
  /** Pids of the processes that were killed. */
  killed: number[]
  /** Folders and cgroups that were removed. */
  removed: string[]
}

/** Removes everything that records of dead owners name; records of living runners are left alone. Repeatable. */
export async function reclaimOrphans(journal: VmJournal): Promise<ReclaimedOrphan[]> {
  const orphans: ReclaimedOrphan[] = []
  for (const record of journal.records()) {
    if (isAlive(record.owner)) continue
    // The owner may have died between the start of the process and its record: it is found by its name as well.
    const processes = processesWithArgument(record.slot)
    if (record.process !== null && !processes.some(({ pid }) => pid === record.process?.pid)) processes.push(record.process)
    const killed = processes.filter(killProcess).map(({ pid }) => pid)
    const removed = [...record.folders, ...record.cgroups].filter((path) => existsSync(path))
    for (const path of record.cgroups) await removeCgroup(path)
    for (const path of record.folders) rmSync(path, { recursive: true, force: true })
    journal.remove(record.slot)
    orphans.push({ slot: record.slot, vmId: record.vmId, killed, removed })
  }
  return orphans
}
