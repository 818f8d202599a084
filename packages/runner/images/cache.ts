import { existsSync, lstatSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { lockFile } from '../host/lock.ts'
import { pruneBuilds } from './builds.ts'
import { listImages } from './images.ts'
import { listLayers, removeLayerLeftovers } from './layers.ts'
import { removeLeftovers } from './stage.ts'
import { CACHE_KINDS, forgetUse, forgetUses, readUse, type CacheKind } from './uses.ts'

/** What may be removed as one. Stages (packages of the distribution, bases) go with the last image that was made from them. */
export interface CacheEntry {
  readonly kind: CacheKind
  readonly key: string
  /** What it takes of the disk; entries may share parts, which go with the last of them. */
  readonly parts: readonly { readonly id: string; readonly bytes: number }[]
  /** ms since the epoch: when it was used last, or made. */
  readonly lastUsedMs: number
  /** Why it must stay; null when it may go. */
  readonly held: string | null
  /** Why it is of no more use to anybody, and goes first whatever the limit; null otherwise. */
  readonly useless: string | null
}

/** Bytes that these take together, shared parts once. */
export function totalBytes(entries: readonly Pick<CacheEntry, 'parts'>[]): number {
  return [...new Map(entries.flatMap(({ parts }) => parts.map(({ id, bytes }) => [id, bytes] as const))).values()].reduce((sum, bytes) => sum + bytes, 0)
}

/**
 * What goes so that the rest is within the limit: what is useless, then what was used longest ago; never what is held, even when the
 * limit cannot be kept then.
 */
export function planPruning(entries: readonly CacheEntry[], limitBytes: number): CacheEntry[] {
  const removed = entries.filter(({ held, useless }) => held === null && useless !== null)
  let left = entries.filter((entry) => !removed.includes(entry))
  const candidates = left.filter(({ held }) => held === null).sort((a, b) => a.lastUsedMs - b.lastUsedMs)
  for (const entry of candidates) {
    if (totalBytes(left) <= limitBytes) break
    removed.push(entry)
    left = left.filter((each) => each !== entry)
  }
  return removed
}

/** A finished stage of a build that failed later stays so long. */
const STAGE_KEPT_MS = 24 * 3_600_000

export interface CacheView {
  cache: string
  /** Digests of images that a saved microVM in use was made from (a driver's templates), which keep them. */
  templateImages: ReadonlySet<string>
}

/** Every image and layer with its size, its last use and why it is kept, most recently used first. */
export function readCache({ cache, templateImages }: CacheView): CacheEntry[] {
  const folder = join(cache, 'images')
  // Before they are read: what is finished meanwhile is not unreadable.
  const there = CACHE_KINDS.flatMap((kind) => namesIn(join(folder, kind)).filter((name) => /^[0-9a-f]{64}$/.test(name)).map((key) => ({ kind, key })))
  const images = listImages(cache)
  const stage = (kind: 'debian' | 'root', key: string, least: number) => ({ id: `${kind}/${key}`, bytes: Math.max(least, folderBytes(join(folder, kind, key))) })
  const entries = images.map((image): CacheEntry => {
    const use = readUse(cache, 'image', image.digest)
    const bytes = (path: string) => statSync(path).blocks * 512
    return {
      kind: 'image', key: image.digest, lastUsedMs: use.lastUsedMs ?? image.builtAtMs, useless: null,
      held: use.inUse ? 'a running process uses it' : templateImages.has(image.digest) ? 'a template in use was made from it' : null,
      parts: [
        { id: `image/${image.digest}`, bytes: bytes(image.initrd) + bytes(join(image.directory, 'image.json')) },
        stage('root', image.stages.root, bytes(image.root)), stage('debian', image.stages.debian, bytes(image.kernel)),
      ],
    }
  })
  const layers = listLayers(cache).map((layer): CacheEntry => {
    const use = readUse(cache, 'layer', layer.key)
    return {
      kind: 'layer', key: layer.key, lastUsedMs: use.lastUsedMs ?? layer.builtAtMs, held: use.inUse ? 'a running process uses it' : null,
      useless: images.some(({ digest }) => digest === layer.imageDigest) ? null : 'its image is gone',
      parts: [{ id: `layer/${layer.key}`, bytes: folderBytes(layer.directory) }],
    }
  })
  const unreadable = there.filter(({ kind, key }) => ![...entries, ...layers].some((each) => each.kind === kind && each.key === key))
    .map(({ kind, key }): CacheEntry => ({ kind, key, lastUsedMs: 0, held: null, useless: 'its manifest cannot be read', parts: [{ id: `${kind}/${key}`, bytes: folderBytes(join(folder, kind, key)) }] }))
  return [...entries, ...layers, ...unreadable].sort((a, b) => b.lastUsedMs - a.lastUsedMs)
}

export interface Pruned {
  removed: CacheEntry[]
  /** What the cache took, and takes now (with dryRun: would take). */
  beforeBytes: number
  afterBytes: number
}

/**
 * Brings the cache within its limit, and removes what killed builds left. Waits for a build of an image that is under way.
 * @param options.limitBytes 0 removes all that nobody uses
 * @param options.signal ends the wait
 */
export async function pruneCache(view: CacheView, options: { limitBytes: number; dryRun?: boolean; signal?: AbortSignal }): Promise<Pruned> {
  const { cache } = view
  const folder = join(cache, 'images')
  if (!existsSync(folder)) return { removed: [], beforeBytes: 0, afterBytes: 0 }
  await using _lock = await lockFile(join(folder, 'lock'), undefined, options.signal)
  if (options.dryRun !== true) {
    removeLeftovers(folder)
    removeLayerLeftovers(cache)
  }
  const before = readCache(view)
  const planned = planPruning(before, options.limitBytes)
  const removed = options.dryRun === true ? planned : planned.filter((entry) => removeEntry(folder, cache, entry))
  const after = before.filter((entry) => !removed.includes(entry))
  if (options.dryRun !== true) {
    removeStages(folder, after, options.limitBytes === 0 ? 0 : STAGE_KEPT_MS)
    const isThere = (kind: CacheKind, key: string) => after.some((entry) => entry.kind === kind && entry.key === key)
    pruneBuilds(cache, isThere)
    forgetUses(cache, isThere)
  }
  return { removed, beforeBytes: totalBytes(before), afterBytes: totalBytes(after) }
}

/** Takes it aside, and back when somebody has marked it as used meanwhile (uses.ts). @returns whether it is gone */
function removeEntry(folder: string, cache: string, { kind, key }: CacheEntry): boolean {
  const [place, aside] = [join(folder, kind, key), join(folder, kind, `.removing-${key}`)]
  renameSync(place, aside)
  if (readUse(cache, kind, key).inUse) {
    renameSync(aside, place)
    return false
  }
  forgetUse(cache, kind, key)
  rmSync(aside, { recursive: true, force: true })
  return true
}

/** Removes the stages that no image was made from, and that no build which failed behind them may go on from. */
function removeStages(folder: string, entries: readonly CacheEntry[], keptMs: number): void {
  const needed = new Set(entries.flatMap(({ parts }) => parts.map(({ id }) => id)))
  for (const kind of ['debian', 'root']) {
    for (const name of namesIn(join(folder, kind))) {
      const path = join(folder, kind, name)
      if (!needed.has(`${kind}/${name}`) && Date.now() - lstatSync(path).mtimeMs >= keptMs) rmSync(path, { recursive: true, force: true })
    }
  }
}

const namesIn = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : [])

/** Disk space of a folder, links not followed. */
function folderBytes(path: string): number {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return 0
  return stat.blocks * 512 + (stat.isDirectory() ? readdirSync(path).reduce((sum, name) => sum + folderBytes(join(path, name)), 0) : 0)
}
