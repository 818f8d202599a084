import { existsSync, linkSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { lockFile } from '../host/lock.ts'
import { buildInitrd, buildRoot } from './assemble.ts'
import { recordBuild, type Build } from './builds.ts'
import { buildDebian, DebianStage } from './debian.ts'
import { bundleGuest, type GuestBundle } from './guest-bundle.ts'
import { IMAGE_FORMAT, type BuildProgress, type Image, type ImageExtras } from './image.ts'
import { digestOf, readInputs, type ImageInputs } from './inputs.ts'
import { readJson } from './read-json.ts'
import { asDiskFull, removeLeftovers, requireSpace, stage } from './stage.ts'
import { IMAGE_TOOLS, requireRoot, requireTools } from './tools.ts'
import { markUsed } from './uses.ts'

export interface EnsureImageOptions {
  /** SWARM_CACHE. The image takes about 0.7 GB there, 2 GB while it is built. */
  cache: string
  extras?: ImageExtras
  /** PEM files whose certificates the guest trusts beside the host's own. */
  extraCaFiles?: readonly string[]
  /** Takes new packages from the distribution even when nothing else has changed. */
  refresh?: boolean
  onProgress?: (progress: BuildProgress) => void
  /** Ends a build; what was finished of it is kept. */
  signal?: AbortSignal
}

/** Free bytes that a stage needs before it starts; measured: tar 190 MB, tree 700 MB, EROFS 170 MB. */
const NEEDED_BYTES = { debian: 1_000_000_000, root: 1_200_000_000, image: 50_000_000 }

/** Images that this process holds (by cache and digest), so that nobody removes them from under it. */
const held = new Map<string, Disposable>()

/**
 * The guest image for these inputs, from the cache or built now. Concurrent callers, in any process, build it once. It counts as in use
 * by this process until that ends or releases it.
 * @throws DomainError tools_missing, root_needed, disk_full, image_unsupported, image_build_failed, invalid_input
 */
export async function ensureImage(options: EnsureImageOptions): Promise<Image> {
  const { cache, refresh = false, onProgress = () => {} } = options
  const inputs = await readInputs(options.extras ?? {}, options.extraCaFiles ?? [])
  const bundle = await bundleGuest()
  const folder = join(cache, 'images')
  const find = () => findImage(cache, join(folder, 'debian', inputs.debianKey), inputs, bundle)
  const known = refresh ? null : find()
  if (known !== null) return known

  requireRoot('Building the guest image')
  requireTools(IMAGE_TOOLS, 'Building the guest image')
  try {
    for (const kind of ['debian', 'root', 'image']) mkdirSync(join(folder, kind), { recursive: true })
    await using _lock = await lockFile(join(folder, 'lock'), () => onProgress({ phase: 'waiting', detail: 'another process builds the image' }))
    removeLeftovers(folder)
    const meanwhile = refresh ? null : find()
    if (meanwhile !== null) return meanwhile
    const image = await recordBuild(cache, 'image', aboutImage(inputs), onProgress, (build) => buildImage(folder, inputs, bundle, refresh, options.signal === undefined ? build : { ...build, signal: options.signal }), ({ digest }) => digest)
    hold(cache, image.digest)
    onProgress({ phase: 'ready', detail: `image ${image.digest.slice(0, 12)}`, bytes: image.bytes })
    return image
  } catch (error) {
    throw asDiskFull(error, folder)
  }
}

/** Says that this process does not use an image any more. */
export function releaseImage(cache: string, digest: string): void {
  held.get(`${cache}\0${digest}`)?.[Symbol.dispose]()
  held.delete(`${cache}\0${digest}`)
}

function hold(cache: string, digest: string): void {
  const before = held.get(`${cache}\0${digest}`)
  // Anew each time: that says when it was used last.
  held.set(`${cache}\0${digest}`, markUsed(cache, 'image', digest))
  before?.[Symbol.dispose]()
}

/** The caller holds the lock. */
async function buildImage(folder: string, inputs: ImageInputs, bundle: GuestBundle, refresh: boolean, build: Build): Promise<Image> {
  const debian = join(folder, 'debian', inputs.debianKey)
  if (refresh) rmSync(debian, { recursive: true, force: true })
  const debianStage = await stage(debian, readStage, (directory) => {
    requireSpace(folder, NEEDED_BYTES.debian, 'The image build')
    return buildDebian(directory, inputs, build)
  })
  const digests = digestsOf(debianStage, inputs, bundle.digest)
  const root = join(folder, 'root', digests.root)
  const versions = await stage(root, (directory) => readJson(join(directory, 'versions.json'), Versions), (directory) => {
    requireSpace(folder, NEEDED_BYTES.root, 'The image build')
    return buildRoot(directory, debian, inputs, build)
  })
  return stage(join(folder, 'image', digests.image), () => readImage(folder, digests.image), async (directory) => {
    requireSpace(folder, NEEDED_BYTES.image, 'The image build')
    buildInitrd(directory, debian, debianStage, bundle, build)
    // The same file in several images takes its space once.
    linkSync(join(root, 'root.erofs'), join(directory, 'root.erofs'))
    linkSync(join(debian, 'vmlinuz'), join(directory, 'vmlinuz'))
    const manifest: ImageManifest = {
      kernelVersion: debianStage.kernelVersion, suite: inputs.distribution.suite, guestBundleDigest: bundle.digest, builtAtMs: Date.now(), debianKey: inputs.debianKey, rootKey: digests.root,
      about: aboutImage(inputs), versions,
    }
    writeFileSync(join(directory, 'image.json'), JSON.stringify(manifest))
  })
}

/** What an image has beside the base, in words. */
function aboutImage(inputs: ImageInputs): string {
  const added = [...inputs.extraPackages, ...inputs.npm.filter((name) => !name.startsWith('npm@')), ...inputs.files.map(({ path }) => path)]
  return added.length === 0 ? 'base' : added.join(', ')
}

/** Every finished image in the cache, newest first. */
export function listImages(cache: string): Image[] {
  const folder = join(cache, 'images')
  if (!existsSync(join(folder, 'image'))) return []
  const digests = readdirSync(join(folder, 'image')).filter((name) => /^[0-9a-f]{64}$/.test(name))
  return digests.flatMap((digest) => readImage(folder, digest) ?? []).sort((a, b) => b.builtAtMs - a.builtAtMs)
}

const Versions = z.object({ packages: z.record(z.string(), z.string()), npm: z.record(z.string(), z.string()) })
const ImageManifest = z.object({
  kernelVersion: z.string(), suite: z.string(), guestBundleDigest: z.string(), builtAtMs: z.number(), debianKey: z.string(), rootKey: z.string(),
  // Not in images of an earlier version.
  about: z.string().default('base'), versions: Versions.default({ packages: {}, npm: {} }),
})
type ImageManifest = z.infer<typeof ImageManifest>

function digestsOf(debian: DebianStage, inputs: Pick<ImageInputs, 'nodeDigest' | 'npm' | 'files' | 'caBundle'>, bundleDigest: string): { root: string; image: string } {
  const root = digestOf(JSON.stringify([IMAGE_FORMAT, debian, inputs.nodeDigest, inputs.npm, inputs.files]), inputs.caBundle)
  return { root, image: digestOf(root, JSON.stringify(debian), bundleDigest) }
}

/** The image of these inputs, held by this process; null when it is not there. */
function findImage(cache: string, debian: string, inputs: ImageInputs, bundle: GuestBundle): Image | null {
  const stage = readStage(debian)
  if (stage === null) return null
  const folder = join(cache, 'images')
  const digest = digestsOf(stage, inputs, bundle.digest).image
  if (readImage(folder, digest) === null) return null
  // Marked before it is looked at again: see markUsed.
  hold(cache, digest)
  const image = readImage(folder, digest)
  if (image === null) releaseImage(cache, digest)
  return image
}

/** Null when it is not there, or its manifest cannot be read: then it can only be made again. */
function readImage(folder: string, digest: string): Image | null {
  const directory = join(folder, 'image', digest)
  const manifest = readJson(join(directory, 'image.json'), ImageManifest)
  if (manifest === null) return null
  const { kernelVersion, suite, guestBundleDigest, builtAtMs, debianKey, rootKey, about, versions } = manifest
  const [kernel, initrd, root] = [join(directory, 'vmlinuz'), join(directory, 'initrd'), join(directory, 'root.erofs')]
  const bytes = [kernel, initrd, root].reduce((sum, path) => sum + statSync(path).size, 0)
  return { digest, directory, kernel, initrd, root, kernelVersion, suite, about, guestBundleDigest, versions, builtAtMs, bytes, stages: { debian: debianKey, root: rootKey } }
}

const readStage = (directory: string) => readJson(join(directory, 'stage.json'), DebianStage)
