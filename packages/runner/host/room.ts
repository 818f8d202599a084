import { readFileSync, statfsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'

/** What a host has, and what of it is free now, bytes; memory as far as this process may use it. */
export interface HostRoom {
  memoryTotalBytes: number
  memoryFreeBytes: number
  cores: number
  scratchTotalBytes: number
  scratchFreeBytes: number
  templateTotalBytes: number
  templateFreeBytes: number
}

const CGROUPS = '/sys/fs/cgroup'

/**
 * Reads what this host has room for. Memory is what the kernel could give without swapping (MemAvailable), or what the tightest
 * memory cgroup above this process still allows, page cache that it may drop included; cores are those that it may run on.
 * @param folders of the scratch disks and of the templates; each must exist
 */
export function readHostRoom(folders: { scratch: string; templates: string }): HostRoom {
  const meminfo = readFileSync('/proc/meminfo', 'utf8')
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(meminfo)?.[1] ?? 0) * 1_024
  const groups = memoryGroups(readFileSync('/proc/self/cgroup', 'utf8')).flatMap(readGroup)
  const [scratch, templates] = [statfsSync(folders.scratch), statfsSync(folders.templates)]
  return {
    memoryTotalBytes: Math.min(bytes('MemTotal'), ...groups.map(({ limitBytes }) => limitBytes)),
    memoryFreeBytes: Math.min(bytes('MemAvailable'), ...groups.map(({ limitBytes, usedBytes }) => limitBytes - usedBytes)),
    cores: availableParallelism(),
    scratchTotalBytes: scratch.blocks * scratch.bsize, scratchFreeBytes: scratch.bavail * scratch.bsize,
    templateTotalBytes: templates.blocks * templates.bsize, templateFreeBytes: templates.bavail * templates.bsize,
  }
}

/** Folders of the memory cgroups that a process is in, its own and all above. @param membership /proc/<pid>/cgroup */
export function memoryGroups(membership: string): string[] {
  const lines = membership.trim().split('\n').map((line) => line.split(':'))
  const v1 = lines.find(([, controllers]) => controllers?.split(',').includes('memory'))
  const path = (v1 ?? lines.find(([hierarchy]) => hierarchy === '0'))?.slice(2).join(':')
  if (path === undefined) return []
  const root = v1 === undefined ? CGROUPS : join(CGROUPS, 'memory')
  const folders: string[] = []
  for (let at = join('/', path); ; at = dirname(at)) {
    folders.push(join(root, at))
    if (at === '/') return folders
  }
}

/** None when the group states no limit (the root never does), or is not to be seen from here (a container sees only its own). */
function readGroup(folder: string): { limitBytes: number; usedBytes: number }[] {
  for (const [limit, usage, inactive] of [['memory.max', 'memory.current', 'inactive_file'], ['memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file']] as const) {
    const [limitBytes, usedBytes, stat] = [limit, usage, 'memory.stat'].map((file) => readOrNull(join(folder, file)))
    // `max`, or the largest number that version 1 can say.
    if (limitBytes == null || usedBytes == null || !(Number(limitBytes) < 2 ** 60)) continue
    return [{ limitBytes: Number(limitBytes), usedBytes: Number(usedBytes) - Number(new RegExp(`^${inactive} (\\d+)$`, 'm').exec(stat ?? '')?.[1] ?? 0) }]
  }
  return []
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
