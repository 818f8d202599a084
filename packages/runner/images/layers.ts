import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { lockFile } from '../host/lock.ts'
import { isAlive, ownIdentity } from '../host/processes.ts'
import { recordBuild, type Build } from './builds.ts'
import type { BuildProgress } from './image.ts'
import { digestOf } from './inputs.ts'
import { readJson } from './read-json.ts'
import { asDiskFull, requireSpace } from './stage.ts'
import { markUsed } from './uses.ts'

/** Raised when layers are made differently. */
const LAYER_FORMAT = 1
/** A setup that failed in a layer's microVM is tried there again after this time: a registry may have been out of reach. */
const RETRY_MS = 3_600_000
/** Free bytes that a build needs before it starts: an install of some size, twice (the microVM's disk and the copy of it). */
const NEEDED_BYTES = 500_000_000

/** All that decides what a layer holds. */
export interface LayerInputs {
  imageDigest: string
  /** Size of the scratch disk, MB of 2^20: the layer is one. */
  scratchMb: number
  /** `<project>/<repository>`: two repositories never share a layer, whatever their files say. */
  repository: string
  command: string
  /** SHA-256 (hex) over paths, modes and contents of the files that the command reads. */
  inputs: string
}

/** What a setup command wrote, as a scratch disk that microVMs start from (docs/decisions/0017). */
export interface Layer {
  readonly key: string
  readonly directory: string
  /** The disk: a sparse ext4 file system. Not there when `problem` says why there is none. */
  readonly disk: string
  readonly imageDigest: string
  readonly repository: string
  readonly command: string
  readonly builtAtMs: number
  /** Why the setup cannot be done apart from the rest of the repository; null for a layer that can be used. */
  readonly problem: string | null
}

/** A setup that does not work, or not apart from the rest of the repository: no fault of the machine. */
export class SetupUnsuited extends Error {}

const layersFolder = (cache: string) => join(cache, 'images', 'layer')

export function layerKey(inputs: LayerInputs): string {
  return digestOf(JSON.stringify([LAYER_FORMAT, inputs.imageDigest, inputs.scratchMb, inputs.repository, inputs.command, inputs.inputs]))
}

/** Every layer in the cache, those that came to nothing among them. */
export function listLayers(cache: string): Layer[] {
  const folder = layersFolder(cache)
  if (!existsSync(folder)) return []
  return readdirSync(folder).filter((name) => /^[0-9a-f]{64}$/.test(name)).flatMap((key) => readLayer(cache, key) ?? [])
}

/** A layer that its user holds until it has copied it. */
export type HeldLayer = Layer & Disposable

/**
 * The layer for these inputs, from the cache or, given `make`, made now; null when there is none, or none can be made. Concurrent
 * callers, in any process, make it once: one does, and the others wait for it.
 * @param options.make puts the disk at this path. @throws SetupUnsuited, which is kept as the answer for an hour
 * @param options.signal ends the wait for another who makes it
 * @throws DomainError disk_full, and whatever else `make` throws: then nothing is kept, and the next caller tries
 */
export async function ensureLayer(cache: string, inputs: LayerInputs, options: { make: ((disk: string, build: Build) => Promise<void>) | null; onProgress?: (progress: BuildProgress) => void; signal?: AbortSignal }): Promise<HeldLayer | null> {
  const { make, onProgress = () => {} } = options
  const key = layerKey(inputs)
  const known = holdLayer(cache, key)
  if (known !== null || make === null) return usable(known)
  const folder = layersFolder(cache)
  mkdirSync(folder, { recursive: true })
  await using _lock = await lockFile(join(folder, `.lock-${key}`), () => onProgress({ phase: 'waiting', detail: 'another microVM makes the layer of this setup' }), options.signal)
  const meanwhile = holdLayer(cache, key)
  if (meanwhile !== null) return usable(meanwhile)
  requireSpace(folder, NEEDED_BYTES, 'The layer of a setup')
  const own = ownIdentity()
  const temporary = join(folder, `.building-${own.pid}-${own.startTicks}-${key}`)
  rmSync(temporary, { recursive: true, force: true })
  mkdirSync(temporary, { recursive: true, mode: 0o700 })
  const finish = (problem: string | null) => {
    const manifest: Manifest = { imageDigest: inputs.imageDigest, repository: inputs.repository, command: inputs.command, builtAtMs: Date.now(), problem }
    writeFileSync(join(temporary, 'layer.json'), JSON.stringify(manifest))
    rmSync(join(folder, key), { recursive: true, force: true })
    renameSync(temporary, join(folder, key))
    return key
  }
  try {
    onProgress({ phase: 'layer', detail: `runs "${inputs.command}" once for all that start from the same lockfiles` })
    await recordBuild(cache, 'layer', `${inputs.repository}: ${inputs.command}`, onProgress, async (build) => {
      await make(join(temporary, 'disk'), build)
      return finish(null)
    }, (made) => made)
    onProgress({ phase: 'ready', detail: `layer ${key.slice(0, 12)}`, bytes: statSync(join(folder, key, 'disk')).blocks * 512 })
  } catch (error) {
    if (!(error instanceof SetupUnsuited)) throw asDiskFull(error, folder)
    rmSync(join(temporary, 'disk'), { force: true })
    finish(error.message.slice(-2_000))
    return null
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
  return usable(holdLayer(cache, key))
}

/** Removes what builders that are gone have left. Their locks stay, empty files: of two names for one lock each would be had by somebody else. */
export function removeLayerLeftovers(cache: string): void {
  const folder = layersFolder(cache)
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const builder = /^\.building-(\d+)-(\d+)-/.exec(name)
    if (builder === null ? name.startsWith('.removing-') : !isAlive({ pid: Number(builder[1]), startTicks: Number(builder[2]) })) rmSync(join(folder, name), { recursive: true, force: true })
  }
}

const Manifest = z.object({ imageDigest: z.string(), repository: z.string(), command: z.string(), builtAtMs: z.number(), problem: z.string().nullable() })
type Manifest = z.infer<typeof Manifest>

/** Marked as used before it is looked at: see markUsed. */
function holdLayer(cache: string, key: string): HeldLayer | null {
  const mark = markUsed(cache, 'layer', key)
  const layer = readLayer(cache, key)
  if (layer !== null && (layer.problem === null || Date.now() - layer.builtAtMs < RETRY_MS)) return { ...layer, [Symbol.dispose]: () => { mark[Symbol.dispose]() } }
  mark[Symbol.dispose]()
  return null
}

function usable(layer: HeldLayer | null): HeldLayer | null {
  if (layer === null || layer.problem === null) return layer
  layer[Symbol.dispose]()
  return null
}

function readLayer(cache: string, key: string): Layer | null {
  const directory = join(layersFolder(cache), key)
  const manifest = readJson(join(directory, 'layer.json'), Manifest)
  return manifest === null ? null : { key, directory, disk: join(directory, 'disk'), ...manifest }
}
