import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { lockFile } from '../host/lock.ts'
import { buildInitrd, buildRoot } from './assemble.ts'
import { buildDebian, type DebianStage } from './debian.ts'
import { bundleGuest } from './guest-bundle.ts'
import { IMAGE_FORMAT, type BuildProgress, type Image, type ImageExtras } from './image.ts'
import { digestOf, readInputs } from './inputs.ts'
import { asDiskFull, removeLeftovers, requireSpace, stage } from './stage.ts'
import { IMAGE_TOOLS, requireRoot, requireTools } from './tools.ts'

export interface EnsureImageOptions {
  /** SWARM_CACHE. The image takes about 0.7 GB there, 2 GB while it is built. */
  cache: string
  extras?: ImageExtras
  /** PEM files whose certificates the guest trusts beside the host's own. */
  extraCaFiles?: readonly string[]
  /** Takes new packages from the distribution even when nothing else has changed. */
  refresh?: boolean
  onProgress?: (progress: BuildProgress) => void
}

/** Free bytes that a stage needs before it starts; measured: tar 190 MB, tree 700 MB, EROFS 170 MB. */
const NEEDED_BYTES = { debian: 1_000_000_000, root: 1_200_000_000, image: 50_000_000 }

/**
 * The guest image for these inputs, from the cache or built now. Concurrent callers, in any process, build it once.
 * @throws DomainError tools_missing, root_needed, disk_full, image_unsupported, image_build_failed, invalid_input
 */
export async function ensureImage(options: EnsureImageOptions): Promise<Image> {
  const { cache, refresh = false, onProgress = () => {} } = options
  const inputs = await readInputs(options.extras ?? {}, options.extraCaFiles ?? [])
  const bundle = await bundleGuest()
  const folder = join(cache, 'images')
  const debian = join(folder, 'debian', inputs.debianKey)
  const known = refresh ? null : findImage(folder, debian, (stage) => digestsOf(stage, inputs, bundle.digest).image)
  if (known !== null) return known

  requireRoot('Building the guest image')
  requireTools(IMAGE_TOOLS, 'Building the guest image')
  try {
    for (const kind of ['debian', 'root', 'image']) mkdirSync(join(folder, kind), { recursive: true })
    await using _lock = await lockFile(join(folder, 'lock'), () => onProgress({ phase: 'waiting', detail: 'another process builds the image' }))
    removeLeftovers(folder)
    if (refresh) rmSync(debian, { recursive: true, force: true })
    await stage(debian, (directory) => {
      requireSpace(folder, NEEDED_BYTES.debian, 'The image build')
      return buildDebian(directory, inputs, onProgress)
    })
    const debianStage = readStage(debian)
    const digests = digestsOf(debianStage, inputs, bundle.digest)
    const root = join(folder, 'root', digests.root)
    await stage(root, (directory) => {
      requireSpace(folder, NEEDED_BYTES.root, 'The image build')
      return buildRoot(directory, debian, inputs, onProgress)
    })
    await stage(join(folder, 'image', digests.image), async (directory) => {
      requireSpace(folder, NEEDED_BYTES.image, 'The image build')
      buildInitrd(directory, debian, debianStage, bundle, onProgress)
      // The same file in several images takes its space once.
      linkSync(join(root, 'root.erofs'), join(directory, 'root.erofs'))
      linkSync(join(debian, 'vmlinuz'), join(directory, 'vmlinuz'))
      const manifest: ImageManifest = { kernelVersion: debianStage.kernelVersion, suite: inputs.distribution.suite, guestBundleDigest: bundle.digest, builtAtMs: Date.now(), debianKey: inputs.debianKey, rootKey: digests.root }
      writeFileSync(join(directory, 'image.json'), JSON.stringify(manifest))
    })
    const image = readImage(folder, digests.image)
    onProgress({ phase: 'ready', detail: `image ${image.digest.slice(0, 12)}`, bytes: image.bytes })
    return image
  } catch (error) {
    throw asDiskFull(error, folder)
  }
}

/** Every finished image in the cache, newest first. */
export function listImages(cache: string): Image[] {
  const folder = join(cache, 'images')
  if (!existsSync(join(folder, 'image'))) return []
  const digests = readdirSync(join(folder, 'image')).filter((name) => /^[0-9a-f]{64}$/.test(name))
  return digests.map((digest) => readImage(folder, digest)).sort((a, b) => b.builtAtMs - a.builtAtMs)
}

/**
 * Removes images, by default all, and the stages that none of the rest needs. Waits for a build that is under way.
 * @returns what was removed
 * @throws DomainError not_found for a digest that is not there
 */
export async function removeImages(cache: string, digests?: readonly string[]): Promise<Image[]> {
  const folder = join(cache, 'images')
  if (!existsSync(folder)) return []
  await using _lock = await lockFile(join(folder, 'lock'))
  removeLeftovers(folder)
  const all = listImages(cache)
  const unknown = digests?.find((digest) => !all.some((image) => image.digest === digest))
  if (unknown !== undefined) throw new DomainError('not_found', { kind: 'image', id: unknown })
  const removed = all.filter((image) => digests === undefined || digests.includes(image.digest))
  for (const image of removed) rmSync(image.directory, { recursive: true, force: true })
  const kept = all.filter((image) => !removed.includes(image)).map((image) => readManifest(image.directory))
  for (const [kind, keys] of [['debian', kept.map((each) => each.debianKey)], ['root', kept.map((each) => each.rootKey)]] as const) {
    for (const name of existsSync(join(folder, kind)) ? readdirSync(join(folder, kind)) : []) {
      if (!keys.includes(name)) rmSync(join(folder, kind, name), { recursive: true, force: true })
    }
  }
  return removed
}

interface ImageManifest { kernelVersion: string; suite: string; guestBundleDigest: string; builtAtMs: number; debianKey: string; rootKey: string }

function digestsOf(debian: DebianStage, inputs: { nodeDigest: string; npm: string[]; caBundle: Uint8Array }, bundleDigest: string): { root: string; image: string } {
  const root = digestOf(JSON.stringify([IMAGE_FORMAT, debian, inputs.nodeDigest, inputs.npm]), inputs.caBundle)
  return { root, image: digestOf(root, JSON.stringify(debian), bundleDigest) }
}

function findImage(folder: string, debian: string, digestFor: (stage: DebianStage) => string): Image | null {
  if (!existsSync(join(debian, 'stage.json'))) return null
  const digest = digestFor(readStage(debian))
  return existsSync(join(folder, 'image', digest)) ? readImage(folder, digest) : null
}

function readImage(folder: string, digest: string): Image {
  const directory = join(folder, 'image', digest)
  const { kernelVersion, suite, guestBundleDigest, builtAtMs } = readManifest(directory)
  const [kernel, initrd, root] = [join(directory, 'vmlinuz'), join(directory, 'initrd'), join(directory, 'root.erofs')]
  const bytes = [kernel, initrd, root].reduce((sum, path) => sum + statSync(path).size, 0)
  return { digest, directory, kernel, initrd, root, kernelVersion, suite, guestBundleDigest, builtAtMs, bytes }
}

const readManifest = (directory: string) => JSON.parse(readFileSync(join(directory, 'image.json'), 'utf8')) as ImageManifest
const readStage = (directory: string) => JSON.parse(readFileSync(join(directory, 'stage.json'), 'utf8')) as DebianStage
