import { probeCgroups, type CgroupSupport } from '../host/cgroup.ts'
import { journalFolder, openVmJournal, type VmJournal } from './journal.ts'
import { describeOrphan, reclaimOrphans, type ReclaimedOrphan } from './reclaim.ts'

export interface OpenHost {
  readonly journal: VmJournal
  readonly cgroups: CgroupSupport
  /** What dead runners had left and was removed. */
  readonly reclaimed: readonly ReclaimedOrphan[]
  /** Limits that this host cannot enforce, with the reason. */
  readonly unenforced: readonly string[]
}

/**
 * What a driver that isolates begins with: the journal of this state folder, rid of what dead runners have left, and what this host can
 * limit. What was removed and what cannot be limited is told.
 */
export async function openHost(stateDir: string, onNotice: (notice: string) => void): Promise<OpenHost> {
  const cgroups = probeCgroups()
  const journal = openVmJournal(journalFolder(stateDir))
  const reclaimed = await reclaimOrphans(journal, (error) => { onNotice(`what a dead runner left could not be removed: ${String(error)}`) })
  for (const orphan of reclaimed) onNotice(describeOrphan(orphan))
  const unenforced = (['cpu', 'memory'] as const).flatMap((limit) => (cgroups[limit] ? [] : [`${limit}: ${cgroups.problems[limit] ?? 'unknown'}`]))
  for (const limit of unenforced) onNotice(`this host cannot limit ${limit}`)
  return { journal, cgroups, reclaimed, unenforced }
}
