import { existsSync, mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isAlive, ownIdentity } from '../host/processes.ts'

/** What the cache holds by a key: finished images, and layers of setups. */
export const CACHE_KINDS = ['image', 'layer'] as const
export type CacheKind = typeof CACHE_KINDS[number]

export interface Use {
  /** ms since the epoch; null when it was never said to be used. */
  readonly lastUsedMs: number | null
  /** Whether a living process uses it now. */
  readonly inUse: boolean
}

/** A process may use the same thing several times at once: each time is a mark of its own. */
let marks = 0

const usesOf = (cache: string, kind: CacheKind, key: string) => join(cache, 'images', 'uses', `${kind}-${key}`)

/**
 * Says that this process uses an image or a layer, so that no other removes it, and that it was used now. Mark first, then look
 * whether it is there: whoever removes it takes it aside first and looks for marks then, so one of the two sees the other.
 */
export function markUsed(cache: string, kind: CacheKind, key: string): Disposable {
  const folder = usesOf(cache, kind, key)
  const { pid, startTicks } = ownIdentity()
  const path = join(folder, `${pid}-${startTicks}-${++marks}`)
  mkdirSync(folder, { recursive: true })
  try {
    writeFileSync(path, '')
    touch(folder)
  } catch (error) {
    // What it is about was removed in between, with its marks.
    if (!isMissing(error)) throw error
    return markUsed(cache, kind, key)
  }
  return {
    [Symbol.dispose]() {
      rmSync(path, { force: true })
      try {
        touch(folder)
      } catch (error) {
        if (!isMissing(error)) throw error
      }
    },
  }
}

/** When it was used last, and whether it is. Marks of processes that are gone are removed. */
export function readUse(cache: string, kind: CacheKind, key: string): Use {
  const folder = usesOf(cache, kind, key)
  const stat = statSync(folder, { throwIfNoEntry: false })
  if (stat === undefined) return { lastUsedMs: null, inUse: false }
  const dead = readdirSync(folder).filter((name) => {
    const [pid, startTicks] = name.split('-').map(Number)
    return !isAlive({ pid: pid ?? 0, startTicks: startTicks ?? 0 })
  })
  for (const name of dead) rmSync(join(folder, name), { force: true })
  // Removing a mark changes the folder's time, and is no use.
  if (dead.length > 0) utimesSync(folder, stat.atime, stat.mtime)
  return { lastUsedMs: stat.mtimeMs, inUse: readdirSync(folder).length > 0 }
}

/** Forgets what was removed. The caller holds the lock of the cache and has seen that nobody uses it. */
export function forgetUse(cache: string, kind: CacheKind, key: string): void {
  rmSync(usesOf(cache, kind, key), { recursive: true, force: true })
}

/** Forgets what nobody uses and what is not there. */
export function forgetUses(cache: string, isThere: (kind: CacheKind, key: string) => boolean): void {
  const folder = join(cache, 'images', 'uses')
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const [kind, key] = name.split('-') as [CacheKind, string]
    if (!isThere(kind, key) && !readUse(cache, kind, key).inUse) forgetUse(cache, kind, key)
  }
}

function touch(folder: string): void {
  const now = new Date()
  utimesSync(folder, now, now)
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
