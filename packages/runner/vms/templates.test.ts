import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Image } from '../images/image.ts'
import { lockFile } from '../host/lock.ts'
import type { MachineFacts } from '../host/machine.ts'
import { buildingFolder, finishTemplate, firecrackerFolder, listTemplates, markTemplateUsed, readTemplate, removeTemplates, templateKey, templateMadeOn, templatesFolder, volatileFolder, type TemplateDriver } from './templates.ts'

const SIZE = { vcpus: 1, memoryMb: 512, scratchMb: 1024 }
const MACHINE: MachineFacts = { cpuModel: 'some CPU', kernelRelease: '6', bootId: 'boot', qemuVersion: 'QEMU 7' }
const MADE_ON = { vmmVersion: 'QEMU 7', cpuModel: 'some CPU' }
let cache: string
let image: Image
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'swarm-templates-test-'))
  image = { digest: 'a'.repeat(64), directory: cache, kernel: '', initrd: '', root: '', kernelVersion: '6', suite: 'test', about: 'base', versions: { packages: {}, npm: {} }, guestBundleDigest: '', bytes: 0, builtAtMs: 0, stages: { debian: '', root: '' } }
})
afterEach(() => {
  for (const folder of [cache, volatileFolder(cache)]) rmSync(folder, { recursive: true, force: true })
})

/** Finished, and used by this process. */
function finish(key: string, of: Image = image, driver: TemplateDriver = 'qemu') {
  const folder = buildingFolder(cache, key, driver)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'memory'), 'memory')
  return finishTemplate(cache, folder, key, of, SIZE, MADE_ON, driver)
}

/** Finished, and used by nobody. */
function make(...of: Parameters<typeof finish>) {
  const template = finish(...of)
  markTemplateUsed(template)[Symbol.dispose]()
  return template
}

test('the key of a template changes with image, size, machine, boot, VMM and accelerator', () => {
  const keys = [
    templateKey(image, SIZE, MACHINE, 'tcg'), templateKey({ ...image, digest: 'b' }, SIZE, MACHINE, 'tcg'), templateKey(image, { ...SIZE, memoryMb: 1024 }, MACHINE, 'tcg'),
    templateKey(image, SIZE, { ...MACHINE, cpuModel: 'other' }, 'tcg'), templateKey(image, SIZE, { ...MACHINE, bootId: 'next' }, 'tcg'),
    templateKey(image, SIZE, { ...MACHINE, qemuVersion: 'QEMU 9' }, 'tcg'), templateKey(image, SIZE, MACHINE, 'kvm'),
  ]
  expect(new Set(keys).size).toBe(keys.length)
  expect(templateKey({ ...image }, { ...SIZE }, { ...MACHINE }, 'tcg')).toBe(keys[0])
})

test('a finished template is found again, and one that is being built is not', () => {
  mkdirSync(buildingFolder(cache, 'key2'), { recursive: true })
  make('key1')
  expect(readTemplate(cache, 'key1', image)).toMatchObject({ key: 'key1', size: SIZE })
  expect(readTemplate(cache, 'key2', image)).toBeNull()
  expect(listTemplates(cache).map(({ key }) => key)).toEqual(['key1'])
})

test('removal spares what a living process uses or builds, and takes what dead builders left', () => {
  const used = make('used')
  make('unused')
  const building = buildingFolder(cache, 'building')
  const dead = join(templatesFolder(cache), '.building-dead-4194305-1')
  for (const folder of [building, dead]) mkdirSync(folder, { recursive: true })
  const mark = markTemplateUsed(used)
  const { removed, inUse } = removeTemplates(cache)
  expect(removed.sort()).toEqual([dead, join(templatesFolder(cache), 'unused')].sort())
  expect(inUse.sort()).toEqual([building, used.directory].sort())
  mark[Symbol.dispose]()
  rmSync(building, { recursive: true })
  removeTemplates(cache)
  expect(existsSync(volatileFolder(cache))).toBe(false)
})

test('a template that was just finished is its maker’s, before that says that it uses it', () => {
  const templates = [finish('plain'), finish('jailed', image, 'firecracker')]
  expect(removeTemplates(cache)).toEqual({ removed: [], inUse: templates.map(({ directory }) => directory) })
  const marks = templates.map((template) => markTemplateUsed(template))
  for (const mark of marks) mark[Symbol.dispose]()
  expect(removeTemplates(cache)).toEqual({ removed: templates.map(({ directory }) => directory), inUse: [] })
})

test('the lock of somebody who is about to make a template is left to him', async () => {
  make('unused')
  const lock = join(volatileFolder(cache), 'lock')
  await using _lock = await lockFile(lock)
  removeTemplates(cache)
  expect([existsSync(lock), existsSync(templatesFolder(cache))]).toEqual([true, false])
})

test('a template that one process marks while another removes it stays whole, or could not be marked', async () => {
  const remover = spawn(process.execPath, ['--input-type=module', '-e', `import { removeTemplates } from ${JSON.stringify(new URL('./templates.ts', import.meta.url).href)}; console.log('up'); for (;;) removeTemplates(${JSON.stringify(cache)}, 'stale')`], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    await once(remover.stdout, 'data')
    let used = 0
    for (let round = 0; round < 400 && used < 20; round++) {
      make('contested', { ...image, directory: join(cache, 'no-image') })
      const template = readTemplate(cache, 'contested', image)
      if (template === null) continue
      let mark
      try {
        mark = markTemplateUsed(template)
      } catch {
        continue
      }
      used += 1
      // Taken aside, it comes back.
      await vi.waitFor(() => { expect(existsSync(join(template.directory, 'memory'))).toBe(true) }, { timeout: 10_000, interval: 1 })
      mark[Symbol.dispose]()
      await vi.waitFor(() => { expect(readdirSync(templatesFolder(cache))).toEqual([]) }, { timeout: 10_000, interval: 1 })
    }
    expect(used).toBeGreaterThan(0)
  } finally {
    remover.kill('SIGKILL')
  }
})

test('stale are templates whose image is gone, and unused ones beyond the newest three', () => {
  const gone = make('gone', { ...image, directory: join(cache, 'no-image') })
  for (const key of ['one', 'two', 'three', 'four']) make(key)
  const { removed } = removeTemplates(cache, 'stale')
  expect(removed).toContain(gone.directory)
  expect(listTemplates(cache).length).toBeLessThanOrEqual(3)
})

test('a template whose manifest a power cut left empty or broken is none, and goes with the stale ones', () => {
  const broken = [make('empty'), make('half', image, 'firecracker')]
  writeFileSync(join(broken[0]!.directory, 'template.json'), '')
  writeFileSync(join(broken[1]!.directory, 'template.json'), '{"key":')
  make('whole')
  expect([readTemplate(cache, 'empty', image), listTemplates(cache).map(({ key }) => key)]).toEqual([null, ['whole']])
  expect(removeTemplates(cache, 'stale').removed.sort()).toEqual(broken.map(({ directory }) => directory).sort())
})

test('templates of both drivers are listed and removed together, each found by its own driver only, and say on what they were saved', () => {
  const template = make('jailed', image, 'firecracker')
  make('plain')
  expect(listTemplates(cache).map(({ key, driver }) => `${driver} ${key}`).toSorted()).toEqual(['firecracker jailed', 'qemu plain'])
  expect(readTemplate(cache, 'jailed', image)).toBeNull()
  expect(readTemplate(cache, 'jailed', image, 'firecracker')).toMatchObject({ key: 'jailed', directory: join(firecrackerFolder(cache), 'templates', 'jailed') })
  expect(templateMadeOn(template)).toEqual(MADE_ON)
  removeTemplates(cache)
  expect([existsSync(volatileFolder(cache)), existsSync(firecrackerFolder(cache))]).toEqual([false, false])
  expect(() => templateMadeOn(template)).toThrow(/no readable manifest/)
})
