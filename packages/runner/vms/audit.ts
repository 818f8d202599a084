import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { HostAudit } from '@swarm/contract/integrity.ts'
import { volatileFolder } from '../drivers/qemu/templates.ts'
import { identifyProcess, isAlive } from '../host/processes.ts'
import { openVmJournal } from './journal.ts'

type Leftover = HostAudit['leftovers'][number]

const SLOT = /^swarm-slot-[0-9a-f]{12}$/
const CGROUPS = ['/sys/fs/cgroup/swarm', '/sys/fs/cgroup/cpu/swarm', '/sys/fs/cgroup/memory/swarm']

interface HostProcess { readonly pid: number; readonly argv: readonly string[]; readonly cwd: string | null }

/**
 * What is on this host of microVMs of the runners under `home`, and belongs to nobody who lives: processes, cgroups, folders,
 * sockets, records. Changes nothing; `reclaimOrphans` takes away what records name.
 * @param cache whose sockets in memory are looked at; none unless given
 */
export function auditHost(home: string, cache?: string): HostAudit {
  const processes = hostProcesses()
  const named = new Map<string, HostProcess[]>()
  for (const each of processes) for (const word of each.argv) if (SLOT.test(word)) named.set(word, [...named.get(word) ?? [], each])
  const leftovers: Leftover[] = []
  const liveVms: string[] = []
  const recorded = new Set<string>()
  const runners = join(home, 'runner')
  for (const name of existsSync(runners) ? readdirSync(runners) : []) {
    const folder = join(runners, name)
    const lastSign = modified(join(home, 'logs', `runner-${name}.log`))
    if (existsSync(join(folder, 'vms'))) {
      for (const record of openVmJournal(join(folder, 'vms')).records()) {
        recorded.add(record.slot)
        const about = { slot: record.slot, vmId: record.vmId, recorded: true, sinceMs: Math.max(lastSign, modified(join(folder, 'vms', `${record.slot}.json`))) }
        const alive = named.get(record.slot) ?? []
        if (isAlive(record.owner)) {
          if (record.vmId !== null && alive.length > 0) liveVms.push(record.vmId)
          if (record.process !== null && alive.length === 0 && !isAlive(record.process)) leftovers.push({ ...about, recorded: false, kind: 'record', id: record.slot, problem: 'the process of this record is gone, and its runner has not noticed' })
          continue
        }
        for (const { pid } of alive) leftovers.push({ ...about, kind: 'process', id: String(pid), problem: `it runs as ${record.slot}; the runner that started it (process ${record.owner.pid}) is gone` })
        for (const path of record.cgroups.filter((each) => existsSync(each))) leftovers.push({ ...about, kind: 'cgroup', id: path, problem: `it is left of ${record.slot}, whose runner is gone` })
        for (const path of record.folders.filter((each) => existsSync(each))) leftovers.push({ ...about, kind: 'folder', id: path, problem: `it is left of ${record.slot}, whose runner is gone` })
        leftovers.push({ ...about, kind: 'record', id: record.slot, problem: 'it is the record of a runner that is gone' })
      }
    }
    leftovers.push(...plainProcesses(folder, name, home, processes, lastSign))
  }
  for (const [slot, owners] of named) {
    if (recorded.has(slot)) continue
    for (const { pid, argv } of owners) if (argv.some((word) => word.includes(`${runners}/`))) leftovers.push({ kind: 'process', id: String(pid), slot, vmId: null, recorded: false, sinceMs: modified(`/proc/${pid}`), problem: `it runs as ${slot}, of which there is no record` })
  }
  for (const folder of [...CGROUPS, ...cache === undefined ? [] : [join(volatileFolder(cache), 'slots')]]) {
    for (const slot of existsSync(folder) ? readdirSync(folder).filter((each) => SLOT.test(each)) : []) {
      if (named.has(slot) || recorded.has(slot)) continue
      leftovers.push({ kind: folder.startsWith('/sys') ? 'cgroup' : 'socket', id: join(folder, slot), slot, vmId: null, recorded: false, sinceMs: modified(join(folder, slot)), problem: 'no process of this name runs' })
    }
  }
  return { leftovers, liveVms, processes: processes.length }
}

/** "microVMs" of the process driver: folders `processes/vm-…` of a runner, and whatever works in them. */
function plainProcesses(folder: string, name: string, home: string, processes: readonly HostProcess[], lastSign: number): Leftover[] {
  const base = join(folder, 'processes')
  if (!existsSync(base) || processes.some((each) => isRunner(each, name, home))) return []
  const left: Leftover[] = []
  for (const vm of readdirSync(base).filter((each) => each.startsWith('vm-'))) {
    const path = join(base, vm)
    const about = { slot: vm, vmId: null, recorded: false, sinceMs: Math.max(lastSign, modified(path)) }
    for (const { pid, cwd } of processes) if (cwd !== null && `${cwd}/`.startsWith(`${path}/`)) left.push({ ...about, kind: 'process', id: String(pid), problem: `it works in ${path}; the runner ${name} is gone` })
    left.push({ ...about, kind: 'folder', id: path, problem: `the runner ${name} is gone` })
  }
  return left
}

/** Whether this is the runner of that name and home (packages/runner/main.ts). */
function isRunner({ pid, argv }: HostProcess, name: string, home: string): boolean {
  if (!argv.some((word) => word.endsWith('packages/runner/main.ts')) || argv[argv.indexOf('--name') + 1] !== name) return false
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`SWARM_HOME=${home}`)
  } catch {
    return false // it ended meanwhile, or is another user's
  }
}

function hostProcesses(): HostProcess[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const argv = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0')
      return identifyProcess(Number(name)) === null ? [] : [{ pid: Number(name), argv, cwd: folderOf(name) }]
    } catch {
      return [] // ended meanwhile
    }
  })
}

function folderOf(pid: string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return null // another user's
  }
}

/** ms since the epoch; 0 when it is not there. */
function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
