import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { processesWithArgument } from '../../packages/runner/host/processes.ts'

const ATTEMPTS = 50
const names = (folder: string) => (existsSync(folder) ? readdirSync(folder) : [])
const read = (path: string) => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // it is gone meanwhile
  }
}

/**
 * What a run has left: VMMs of this process or of nobody, cgroups and jails that no process goes with, and whatever is in the
 * run's own folders. Other runners of this host may have microVMs meanwhile; templates stay, on purpose.
 */
function look(own: readonly string[], jails: string): string[] {
  const vmms = names('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    const parent = Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${name}/status`))?.[1])
    if (parent !== process.pid && parent !== 1) return []
    try {
      return /qemu-system|firecracker/.test(readlinkSync(`/proc/${name}/exe`)) ? [`process ${name}`] : []
    } catch {
      return [] // it is gone meanwhile
    }
  })
  const roots = ['/sys/fs/cgroup', '/sys/fs/cgroup/cpu', '/sys/fs/cgroup/memory'].map((root) => join(root, 'swarm'))
  const cgroups = roots.flatMap((root) => names(root).filter((name) => name.startsWith('swarm-slot-')).map((name) => join(root, name))).filter((path) => read(join(path, 'cgroup.procs')) === '')
  const jailed = names(jails).filter((name) => processesWithArgument(name).length === 0).map((name) => join(jails, name))
  return [...vmms, ...cgroups, ...jailed, ...own.flatMap((folder) => names(folder).map((name) => join(folder, name)))]
}

/** What was there before is not ours. Ending takes the kernel a moment. */
export function watchLeftovers(own: readonly string[], jails: string): () => Promise<string[]> {
  const before = new Set(look(own, jails))
  return async () => {
    for (let tries = 0; ; tries++) {
      const left = look(own, jails).filter((each) => !before.has(each))
      if (left.length === 0 || tries >= ATTEMPTS) return left
      await new Promise((resolve) => { setTimeout(resolve, 100) })
    }
  }
}
