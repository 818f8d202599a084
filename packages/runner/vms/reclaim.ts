import { setTimeout as delay } from 'node:timers/promises'
import { existsSync } from 'node:fs'
import { removeCgroup } from '../host/cgroup.ts'
import { removeTree } from '../host/remove-tree.ts'
import { isAlive, killProcess, processesIn, processesMarked } from '../host/processes.ts'
import { journalsUnder } from './journal.ts'
import type { VmJournal, VmRecord } from './journal.ts'

/** What was left of a microVM whose runner is gone, and was removed. */
export interface ReclaimedOrphan {
  slot: string
  vmId: string | null
  /** Pids of the processes that were killed. */
  killed: number[]
  /** Folders and cgroups that were removed. */
  removed: string[]
}

/**
 * Removes everything that records of dead owners name; records of living runners are left alone. Repeatable.
 * @param onTrouble what could not be removed: its record stays, and the others are dealt with
 */
export async function reclaimOrphans(journal: VmJournal, onTrouble: (error: unknown) => void): Promise<ReclaimedOrphan[]> {
  const orphans: ReclaimedOrphan[] = []
  for (const record of journal.records()) {
    if (isAlive(record.owner)) continue
    try {
      orphans.push(await reclaim(journal, record))
    } catch (error) {
      onTrouble(error)
    }
  }
  return orphans
}

async function reclaim(journal: VmJournal, record: VmRecord): Promise<ReclaimedOrphan> {
  // The owner may have died between the start of the process and its record: it is found by its name as well.
  const processes = [...processesMarked(record.slot), ...processesIn(record.folders)]
  if (record.process !== null && !processes.some(({ pid }) => pid === record.process?.pid)) processes.push(record.process)
  const killed = processes.filter(killProcess).map(({ pid }) => pid)
  const removed = [...record.folders, ...record.cgroups].filter((path) => existsSync(path))
  for (const path of record.cgroups) await removeCgroup(path)
  for (const path of record.folders) removeTree(path)
  journal.remove(record.slot)
  return { slot: record.slot, vmId: record.vmId, killed, removed }
}

export function describeOrphan(orphan: ReclaimedOrphan): string {
  return `reclaimed ${orphan.vmId ?? orphan.slot}: ${orphan.killed.length} processes, ${orphan.removed.length} folders`
}

/**
 * Removes what dead runners of this host leave, whichever they were, now and every `everyMs`: also when nobody starts a
 * runner of that name again.
 * @param runners the folder with the state folders of all runners
 */
export function startReclaiming(runners: string, options: { everyMs: number; onReclaimed: (orphan: ReclaimedOrphan) => void; onError: (error: unknown) => void }): AsyncDisposable {
  const ended = new AbortController()
  async function reclaimAll(): Promise<void> {
    for (const journal of journalsUnder(runners)) for (const orphan of await reclaimOrphans(journal, options.onError)) options.onReclaimed(orphan)
  }
  async function run(): Promise<void> {
    while (!ended.signal.aborted) {
      await reclaimAll().catch(options.onError)
      await delay(options.everyMs, undefined, { signal: ended.signal }).catch(() => undefined) // disposed
    }
  }
  const running = run()
  return {
    async [Symbol.asyncDispose]() {
      ended.abort()
      await running
    },
  }
}
