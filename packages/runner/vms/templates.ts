import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'
import { GUEST_PROTOCOL_VERSION } from '@swarm/contract/guest-protocol.ts'
import { DomainError } from '@swarm/core/errors.ts'
import type { Template, VmDriver, VmSize } from '../drivers/driver.ts'
import { lockFile } from '../host/lock.ts'
import { isAlive, ownIdentity } from '../host/processes.ts'
import type { Image } from '../images/image.ts'
import { digestOf } from '../images/inputs.ts'
import { readJson } from '../images/read-json.ts'

/** Raised when a template is made differently. */
const TEMPLATE_FORMAT = 3
/** Unused templates of images that still exist: this many are kept, the newest, and this long. Each takes about 0.3 GB of memory. */
const UNUSED_KEPT = 3
const UNUSED_KEPT_MS = 7 * 24 * 3_600_000

/** On what a template was saved. */
const MadeOn = z.object({ vmmVersion: z.string(), cpuModel: z.string() })
export type MadeOn = z.infer<typeof MadeOn>

const Manifest = z.object({
  key: z.string(), imageDigest: z.string(), imageDirectory: z.string(), size: z.object({ vcpus: z.number(), memoryMb: z.number(), scratchMb: z.number() }), builtAtMs: z.number(),
  madeOn: MadeOn,
})
type Manifest = z.infer<typeof Manifest>

export type TemplateDriver = Exclude<VmDriver['name'], 'process'>
const TEMPLATE_DRIVERS: readonly TemplateDriver[] = ['qemu', 'firecracker']

/**
 * Where the templates of QEMU live: in memory, since a template's memory file on a plain disk made boots hang, and since a
 * reboot then takes them away by itself. One folder per user and cache, so that two installations do not meet.
 */
export function volatileFolder(cache: string): string {
  const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
  return join(base, `swarm-${process.getuid?.() ?? 0}-${createHash('sha256').update(cache).digest('hex').slice(0, 8)}`)
}

/** @param machine everything of host and VMM that a saved state depends on */
export function templateKey(image: Image, size: VmSize, machine: object, accelerator: string): string {
  return digestOf(JSON.stringify([TEMPLATE_FORMAT, GUEST_PROTOCOL_VERSION, image.digest, size.vcpus, size.memoryMb, size.scratchMb, machine, accelerator]))
}

/** Firecracker's are on the disk of the cache: jails take image, memory and state by hard links, which cross no file system. */
export const firecrackerFolder = (cache: string) => join(cache, 'firecracker')

export const jailsFolder = (cache: string) => join(firecrackerFolder(cache), 'jails')

export const templatesFolder = (cache: string, driver: TemplateDriver = 'qemu') => join(driver === 'qemu' ? volatileFolder(cache) : firecrackerFolder(cache), 'templates')

/** @throws DomainError disk_full when the memory of a template does not fit */
export function requireTemplateSpace(cache: string, size: VmSize, driver: TemplateDriver = 'qemu'): void {
  const path = templatesFolder(cache, driver)
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const { bavail, bsize } = statfsSync(path)
  const neededBytes = size.memoryMb * 1024 * 1024
  if (bavail * bsize < neededBytes) throw new DomainError('disk_full', { purpose: 'The template of the microVMs', path, neededBytes, freeBytes: bavail * bsize })
}

export function readTemplate(cache: string, key: string, image: Image, driver: TemplateDriver = 'qemu'): Template | null {
  const directory = join(templatesFolder(cache, driver), key)
  const manifest = readManifest(directory)
  if (manifest === null) return null
  return { key, image, size: manifest.size, directory, builtAtMs: manifest.builtAtMs }
}

/** Makes a template whole at once: the folder has its name only when it is finished, and is this process's then (markTemplateUsed gives it back). */
export function finishTemplate(cache: string, temporary: string, key: string, image: Image, size: VmSize, madeOn: MadeOn, driver: TemplateDriver = 'qemu'): Template {
  const manifest: Manifest = { key, imageDigest: image.digest, imageDirectory: image.directory, size, builtAtMs: Date.now(), madeOn }
  mkdirSync(join(temporary, 'users'))
  writeFileSync(ownMark(temporary), '')
  writeFileSync(join(temporary, 'template.json'), JSON.stringify(manifest))
  const directory = join(templatesFolder(cache, driver), key)
  renameSync(temporary, directory)
  return { key, image, size, directory, builtAtMs: manifest.builtAtMs }
}

/** On what a template was saved. @throws DomainError template_incompatible when its manifest is gone or not readable */
export function templateMadeOn(template: Template): MadeOn {
  const manifest = readManifest(template.directory)
  if (manifest === null) throw new DomainError('template_incompatible', { problem: `${template.directory} has no readable manifest` })
  return manifest.madeOn
}

/** One mark for each process. */
function ownMark(directory: string): string {
  const { pid, startTicks } = ownIdentity()
  return join(directory, 'users', `${pid}-${startTicks}`)
}

/** Says that this process uses a template, so that no other reclaims it. */
export function markTemplateUsed(template: Template): Disposable {
  const path = ownMark(template.directory)
  writeFileSync(path, '')
  return { [Symbol.dispose]: () => rmSync(path, { force: true }) }
}

export interface TemplateInfo { key: string; driver: TemplateDriver; imageDigest: string; size: VmSize; builtAtMs: number; bytes: number; inUse: boolean; directory: string }

/** Every finished template of this cache. */
export function listTemplates(cache: string): TemplateInfo[] {
  return TEMPLATE_DRIVERS.flatMap((driver) => listTemplatesOf(cache, driver))
}

function listTemplatesOf(cache: string, driver: TemplateDriver): TemplateInfo[] {
  const folder = templatesFolder(cache, driver)
  if (!existsSync(folder)) return []
  return readdirSync(folder).filter((name) => !name.startsWith('.')).flatMap((name) => {
    const directory = join(folder, name)
    const manifest = readManifest(directory)
    if (manifest === null) return []
    const bytes = readdirSync(directory).reduce((sum, file) => sum + statSync(join(directory, file)).blocks * 512, 0)
    return [{ key: manifest.key, driver, imageDigest: manifest.imageDigest, size: manifest.size, builtAtMs: manifest.builtAtMs, bytes, inUse: isInUse(directory), directory }]
  })
}

/** Removes templates that no living runner uses: all of them, or the stale ones. @param dryRun only says what it would do @returns what was removed and what is in use */
export function removeTemplates(cache: string, which: 'all' | 'stale' = 'all', dryRun = false): { removed: string[]; inUse: string[] } {
  const [removed, inUse]: [string[], string[]] = [[], []]
  for (const driver of TEMPLATE_DRIVERS) {
    const folder = templatesFolder(cache, driver)
    const kept = listTemplatesOf(cache, driver).filter((template) => !template.inUse).sort((a, b) => b.builtAtMs - a.builtAtMs).slice(0, UNUSED_KEPT).map(({ key }) => key)
    for (const name of existsSync(folder) ? readdirSync(folder) : []) {
      const directory = join(folder, name)
      const builder = /^\.building-.*-(\d+)-(\d+)$/.exec(name)
      const used = builder !== null ? isAlive({ pid: Number(builder[1]), startTicks: Number(builder[2]) }) : isInUse(directory)
      if (!used && which === 'stale' && builder === null && kept.includes(name) && !isStale(readManifest(directory))) continue
      const goes = !used && (dryRun || removeUnlessUsed(directory))
      ;(goes ? removed : inUse).push(directory)
    }
  }
  if (!dryRun && which === 'all') {
    removeEmptied(volatileFolder(cache), 'lock')
    removeEmpty(jailsFolder(cache))
    removeEmptied(firecrackerFolder(cache), 'templates.lock')
  }
  return { removed, inUse }
}

/** Takes a template aside, and back when somebody has marked it as used meanwhile: one of the two sees the other. @returns whether it is gone */
function removeUnlessUsed(directory: string): boolean {
  if (isInUse(directory)) return false
  const aside = join(dirname(directory), `.removing-${basename(directory).replace(/^\.removing-/, '')}`)
  renameSync(directory, aside)
  if (isInUse(aside)) {
    renameSync(aside, directory)
    return false
  }
  rmSync(aside, { recursive: true, force: true })
  return true
}

/** Removes a folder of templates that has none any more, with its lock unless somebody has that: he is about to make one. */
function removeEmptied(folder: string, lock: string): void {
  if (!existsSync(folder)) return
  removeEmpty(join(folder, 'templates'))
  spawnSync('flock', ['--exclusive', '--nonblock', join(folder, lock), 'rm', '--force', join(folder, lock)], { stdio: 'ignore' })
  removeEmpty(folder)
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch (error) {
    // In use, or never made.
    if (!(error instanceof Error && 'code' in error && (error.code === 'ENOTEMPTY' || error.code === 'ENOENT'))) throw error
  }
}

/** Removes a template that no living runner uses any more. @returns false when one does, or it is gone already */
export async function removeUnused(cache: string, template: Template): Promise<boolean> {
  if (!existsSync(template.directory)) return false
  await using _lock = await lockFile(join(volatileFolder(cache), 'lock'))
  return removeUnlessUsed(template.directory)
}

/** Removes the folder of the jails, once no runner of this cache has any in it. */
export function removeEmptyJails(cache: string): void {
  removeEmpty(jailsFolder(cache))
}

/** The name of the folder in which this process builds a template. */
export function buildingFolder(cache: string, key: string, driver: TemplateDriver = 'qemu'): string {
  const own = ownIdentity()
  return join(templatesFolder(cache, driver), `.building-${key.slice(0, 12)}-${own.pid}-${own.startTicks}`)
}

function isInUse(directory: string): boolean {
  const users = join(directory, 'users')
  if (!existsSync(users)) return false
  return readdirSync(users).some((name) => {
    const [pid, startTicks] = name.split('-').map(Number)
    return isAlive({ pid: pid ?? 0, startTicks: startTicks ?? 0 })
  })
}

function isStale(manifest: Manifest | null): boolean {
  return manifest === null || !existsSync(manifest.imageDirectory) || Date.now() - manifest.builtAtMs > UNUSED_KEPT_MS
}

const readManifest = (directory: string): Manifest | null => readJson(join(directory, 'template.json'), Manifest)
