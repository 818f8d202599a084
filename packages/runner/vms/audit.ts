import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { join, sep } from 'node:path'
import type { HostAudit } from '@swarm/contract/integrity.ts'
import { jailsFolder } from './templates.ts'
import { identifyProcess, isAlive, MARK_VARIABLE, workingFolder } from '../host/processes.ts'
import { openVmJournal } from './journal.ts'

type Leftover = HostAudit['leftovers'][number]

const SLOT = /^swarm-slot-[0-9a-f]{12}$/
const CGROUPS = ['/sys/fs/cgroup/swarm', '/sys/fs/cgroup/cpu/swarm', '/sys/fs/cgroup/memory/swarm']

/**
 * `slots`: names of records that it was started for, as an argument (QEMU, Firecracker) or as a mark in its environment. `at`: the slot in
 * whose folder it stands, which a cleared environment does not hide.
 */
interface HostProcess { readonly pid: number; readonly argv: readonly string[]; readonly slots: readonly string[]; readonly at: string | null }

/**
 * What is on this host of microVMs of the runners under `home`, and belongs to nobody who lives: processes, cgroups, folders,
 * records. Changes nothing; `reclaimOrphans` takes away what records name.
 * @param cache whose jails are looked at; none unless given
 */
export function auditHost(home: string, cache?: string): HostAudit {
  const runners = join(home, 'runner')
  const processes = hostProcesses(runners)
  const named = new Map<string, HostProcess[]>()
  for (const each of processes) for (const slot of new Set([...each.slots, ...each.at === null ? [] : [each.at]])) named.set(slot, [...named.get(slot) ?? [], each])
  const leftovers: Leftover[] = []
  const liveVms: string[] = []
  const recorded = new Set<string>()
  /** Of the names of what the runners of this home make: other installations on this host have their own. */
  const prefixes: string[] = []
  const disks: string[] = []
  for (const name of existsSync(runners) ? readdirSync(runners) : []) {
    const folder = join(runners, name)
    const lastSign = modified(join(home, 'logs', `runner-${name}.log`))
    if (existsSync(join(folder, 'vms'))) {
      const journal = openVmJournal(join(folder, 'vms'))
      prefixes.push(journal.slotPrefix)
      disks.push(join(folder, 'disks'))
      for (const record of journal.records()) {
        recorded.add(record.slot)
        const about = { slot: record.slot, vmId: record.vmId, recorded: true, sinceMs: Math.max(lastSign, modified(join(folder, 'vms', `${record.slot}.json`))) }
        const alive = named.get(record.slot) ?? []
        if (isAlive(record.owner)) {
          if (record.vmId !== null && alive.length > 0) liveVms.push(record.vmId)
          if (record.process !== null && alive.length === 0 && !isAlive(record.process)) leftovers.push({ ...about, recorded: false, kind: 'record', id: record.slot, problem: 'the process of this record is gone, and its runner has not noticed' })
          continue
        }
        for (const { pid, slots } of alive) leftovers.push({ ...about, recorded: slots.includes(record.slot) || pid === record.process?.pid, kind: 'process', id: String(pid), problem: `it runs as ${record.slot}; the runner that started it (process ${record.owner.pid}) is gone` })
        for (const path of record.cgroups.filter((each) => existsSync(each))) leftovers.push({ ...about, kind: 'cgroup', id: path, problem: `it is left of ${record.slot}, whose runner is gone` })
        for (const path of record.folders.filter((each) => existsSync(each))) leftovers.push({ ...about, kind: 'folder', id: path, problem: `it is left of ${record.slot}, whose runner is gone` })
        leftovers.push({ ...about, kind: 'record', id: record.slot, problem: 'it is the record of a runner that is gone' })
      }
    }
  }
  for (const [slot, owners] of named) {
    if (recorded.has(slot)) continue
    for (const { pid, argv, at } of owners) if (at === slot || argv.some((word) => word.includes(`${runners}/`))) leftovers.push({ kind: 'process', id: String(pid), slot, vmId: null, recorded: false, sinceMs: modified(`/proc/${pid}`), problem: `it runs as ${slot}, of which there is no record` })
  }
  for (const folder of [...CGROUPS, ...disks, ...cache === undefined ? [] : [jailsFolder(cache)]]) {
    for (const slot of existsSync(folder) ? readdirSync(folder).filter((each) => SLOT.test(each) && prefixes.some((prefix) => each.startsWith(prefix))) : []) {
      if (named.has(slot) || recorded.has(slot)) continue
      leftovers.push({ kind: folder.startsWith('/sys') ? 'cgroup' : 'folder', id: join(folder, slot), slot, vmId: null, recorded: false, sinceMs: modified(join(folder, slot)), problem: 'no process of this name runs' })
    }
  }
  return { leftovers, liveVms, processes: processes.length }
}

function hostProcesses(runners: string): HostProcess[] {
  // Links of /proc are resolved; a folder that is gone has ' (deleted)' after its path.
  const root = existsSync(runners) ? realpathSync(runners) + sep : null
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    const argv = words(`/proc/${name}/cmdline`)
    if (argv.length === 0 || identifyProcess(Number(name)) === null) return []
    const marks = words(`/proc/${name}/environ`).flatMap((word) => (word.startsWith(`${MARK_VARIABLE}=`) ? [word.slice(MARK_VARIABLE.length + 1)] : []))
    const at = root === null ? null : slotAt(root, workingFolder(name))
    return [{ pid: Number(name), argv, at, slots: [...new Set([...argv, ...marks])].filter((word) => SLOT.test(word)) }]
  })
}

/** The slot in whose folder a process stands: of the process driver, or of a disk of QEMU. */
function slotAt(root: string, folder: string): string | null {
  if (!folder.startsWith(root)) return null
  const [, kind, slot] = folder.slice(root.length).replace(/ \(deleted\)$/, '').split(sep)
  return (kind === 'processes' || kind === 'disks') && slot !== undefined && SLOT.test(slot) ? slot : null
}

/** None when the process ended meanwhile, or is another user's. */
function words(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\0')
  } catch {
    return []
  }
}

/** ms since the epoch; 0 when it is not there. */
function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
