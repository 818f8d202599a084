import { existsSync, mkdirSync, readFileSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const ROOT = '/sys/fs/cgroup'
const CGROUP2_MAGIC = 0x63677270
const PERIOD_US = 100_000

export interface CgroupSupport {
  version: 1 | 2 | null
  cpu: boolean
  memory: boolean
  /** Why something is not there, per limit. */
  problems: { cpu?: string; memory?: string }
}

/** Finds out, by making and removing a group, what this host can limit. */
export function probeCgroups(): CgroupSupport {
  const version = isCgroup2(ROOT) ? 2 : existsSync(join(ROOT, 'cpu')) || existsSync(join(ROOT, 'memory')) ? 1 : null
  if (version === null) return { version, cpu: false, memory: false, problems: { cpu: 'there are no cgroups', memory: 'there are no cgroups' } }
  const problems: CgroupSupport['problems'] = {}
  for (const controller of ['cpu', 'memory'] as const) {
    try {
      for (const path of groupPaths(version, `swarm/probe-${process.pid}`, [controller])) {
        prepareGroup(version, path)
        const file = limitFile(version, controller)
        if (!existsSync(join(path, file))) throw new Error(`${file} is missing`)
        rmdirSync(path)
      }
    } catch (error) {
      problems[controller] = error instanceof Error ? error.message : String(error)
    }
  }
  return { version, cpu: problems.cpu === undefined, memory: problems.memory === undefined, problems }
}

/**
 * Makes the groups of one microVM and puts its process in.
 * @param limits cpuShare in cores; memoryBytes for the whole VMM process
 * @returns their folders, for the journal
 */
export function createCgroups(support: CgroupSupport, name: string, limits: { cpuShare?: number; memoryBytes?: number }): { paths: string[]; admit(pid: number): void } {
  if (support.version === null) return { paths: [], admit: () => {} }
  const { version } = support
  const controllers = (['cpu', 'memory'] as const).filter((each) => support[each] && (each === 'cpu' ? limits.cpuShare : limits.memoryBytes) !== undefined)
  const paths = groupPaths(version, `swarm/${name}`, controllers)
  return {
    paths,
    admit(pid) {
      for (const path of paths) {
        prepareGroup(version, path)
        for (const controller of version === 1 ? [controllers[paths.indexOf(path)]] : controllers) {
          if (controller === 'cpu') writeCpu(version, path, limits.cpuShare ?? 1)
          if (controller === 'memory') writeFileSync(join(path, limitFile(version, 'memory')), String(limits.memoryBytes))
        }
        writeFileSync(join(path, 'cgroup.procs'), String(pid))
      }
    },
  }
}

/**
 * The same groups as those of `createCgroups`, in the words of Firecracker's jailer, which makes them and starts its process in them.
 * @returns null where this host has none; `parent` is relative to the controllers' roots, `files` are `<file>=<value>`
 */
export function jailerCgroups(support: CgroupSupport, memoryBytes: number): { version: 1 | 2; parent: string; files: string[] } | null {
  if (support.version === null || !support.memory) return null
  return { version: support.version, parent: 'swarm', files: [`${limitFile(support.version, 'memory')}=${memoryBytes}`] }
}

/** Removes a group; its processes must have been killed, and the kernel may take a moment to forget them. */
export async function removeCgroup(path: string): Promise<void> {
  for (let attempt = 0; existsSync(path); attempt++) {
    try {
      return rmdirSync(path)
    } catch (error) {
      if (attempt >= 200) throw error
      await delay(10) // a killed process leaves its group asynchronously, and rmdir has no event for it
    }
  }
}

function groupPaths(version: 1 | 2, name: string, controllers: readonly ('cpu' | 'memory')[]): string[] {
  if (controllers.length === 0) return []
  return version === 2 ? [join(ROOT, name)] : controllers.map((controller) => join(ROOT, controller, name))
}

function prepareGroup(version: 1 | 2, path: string): void {
  const parent = join(path, '..')
  mkdirSync(parent, { recursive: true })
  if (version === 2) for (const folder of [ROOT, parent]) writeFileSync(join(folder, 'cgroup.subtree_control'), '+cpu +memory')
  mkdirSync(path, { recursive: true })
}

const limitFile = (version: 1 | 2, controller: 'cpu' | 'memory') => ({ cpu: { 1: 'cpu.cfs_quota_us', 2: 'cpu.max' }, memory: { 1: 'memory.limit_in_bytes', 2: 'memory.max' } })[controller][version]

function writeCpu(version: 1 | 2, path: string, cores: number): void {
  const quota = Math.max(1_000, Math.round(cores * PERIOD_US))
  if (version === 2) return writeFileSync(join(path, 'cpu.max'), `${quota} ${PERIOD_US}`)
  writeFileSync(join(path, 'cpu.cfs_period_us'), String(PERIOD_US))
  writeFileSync(join(path, 'cpu.cfs_quota_us'), String(quota))
}

function isCgroup2(path: string): boolean {
  try {
    return statfsSync(path).type === CGROUP2_MAGIC
  } catch {
    return false
  }
}


/** Whether the kernel has killed a process of this group for its memory limit. */
export function wasOutOfMemory(path: string): boolean {
  return ['memory.oom_control', 'memory.events'].some((file) => {
    const place = join(path, file)
    return existsSync(place) && Number(/^oom_kill (\d+)$/m.exec(readFileSync(place, 'utf8'))?.[1] ?? 0) > 0
  })
}

/** Removes the groups above those of the microVMs, when no runner has any in them. */
export function removeSharedCgroups(support: CgroupSupport): void {
  if (support.version === null) return
  for (const path of groupPaths(support.version, 'swarm', ['cpu', 'memory'])) {
    try {
      rmdirSync(path)
    } catch (error) {
      // Not there, or another runner's microVMs are in it: both are as they should be.
      if (!(error instanceof Error && 'code' in error && ['ENOENT', 'EBUSY', 'ENOTEMPTY'].includes(String(error.code)))) throw error
    }
  }
}
