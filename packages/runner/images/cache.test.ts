import { spawn } from 'node:child_process'
import { existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { listBuilds, readBuildLog, recordBuild } from './builds.ts'
import { planPruning, pruneCache, readCache, totalBytes, type CacheEntry } from './cache.ts'
import { listImages } from './images.ts'
import { ensureLayer, layerKey, listLayers, SetupUnsuited, type LayerInputs } from './layers.ts'
import { markUsed } from './uses.ts'

let cache: string
beforeEach(() => { cache = mkdtempSync(join(tmpdir(), 'swarm-cache-test-')) })
afterEach(() => rmSync(cache, { recursive: true, force: true }))

const BLOCK = 4_096
const digestOf = (number: number) => number.toString(16).padStart(64, '0')
const view = (templates: number[] = []) => ({ cache, templateImages: new Set(templates.map(digestOf)) })

/** A finished image as the build leaves it, on a base that images of the same number of it share. */
function makeImage(number: number, base: number, blocks: number): void {
  const folder = join(cache, 'images')
  const [debian, root, image] = [join(folder, 'debian', 'packages'), join(folder, 'root', `base${base}`), join(folder, 'image', digestOf(number))]
  for (const each of [debian, root, image]) mkdirSync(each, { recursive: true })
  if (!existsSync(join(debian, 'vmlinuz'))) writeFileSync(join(debian, 'vmlinuz'), Buffer.alloc(BLOCK, 1))
  if (!existsSync(join(root, 'root.erofs'))) writeFileSync(join(root, 'root.erofs'), Buffer.alloc(3 * BLOCK, 2))
  linkSync(join(debian, 'vmlinuz'), join(image, 'vmlinuz'))
  linkSync(join(root, 'root.erofs'), join(image, 'root.erofs'))
  writeFileSync(join(image, 'initrd'), Buffer.alloc(blocks * BLOCK, 3))
  writeFileSync(join(image, 'image.json'), JSON.stringify({ kernelVersion: '6', suite: 'test', guestBundleDigest: '', builtAtMs: number, debianKey: 'packages', rootKey: `base${base}` }))
}

const inputs = (image: number, command = 'npm ci'): LayerInputs => ({ imageDigest: digestOf(image), scratchMb: 64, repository: 'p/r', command, inputs: 'x' })
const makeLayer = async (image: number, command: string, blocks = 2) => {
  const layer = await ensureLayer(cache, inputs(image, command), { make: async (disk) => writeFileSync(disk, Buffer.alloc(blocks * BLOCK, 4)) })
  layer?.[Symbol.dispose]()
}

describe('the plan of a pruning', () => {
  const entry = fc.record({ parts: fc.array(fc.record({ id: fc.constantFrom('a', 'b', 'c', 'd'), bytes: fc.constant(10) }), { maxLength: 3 }), own: fc.nat(100), lastUsedMs: fc.nat(50), held: fc.constantFrom(null, null, 'in use'), useless: fc.constantFrom(null, null, null, 'its image is gone') })
  const entries = fc.array(entry, { maxLength: 12 }).map((all) => all.map(({ parts, own, ...rest }, index): CacheEntry => ({ ...rest, kind: 'image', key: String(index), parts: [...parts, { id: `own${index}`, bytes: own }] })))

  test('never takes what is held, keeps within the limit unless all that is left is held, and takes nothing that was used later than what it leaves', () => {
    fc.assert(fc.property(entries, fc.nat(400), (all, limit) => {
      const removed = planPruning(all, limit)
      const left = all.filter((each) => !removed.includes(each))
      expect(removed.filter(({ held }) => held !== null)).toEqual([])
      expect(left.every(({ held }) => held !== null) || totalBytes(left) <= limit).toBe(true)
      const forRoom = removed.filter(({ useless }) => useless === null)
      const leftFree = left.filter(({ held }) => held === null)
      expect(Math.max(...forRoom.map(({ lastUsedMs }) => lastUsedMs)) <= Math.min(...leftFree.map(({ lastUsedMs }) => lastUsedMs))).toBe(true)
      // Not one more than needed: with the last one still there it would not fit.
      if (forRoom.length > 0) expect(totalBytes([...left, forRoom.at(-1)!])).toBeGreaterThan(limit)
    }))
  })
})

describe('the cache', () => {
  test('under any sequence of building, using, letting go and pruning keeps what is used, and is within its limit otherwise', async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('build' as const), number: fc.nat(5), base: fc.nat(1), blocks: fc.integer({ min: 1, max: 6 }) }),
      fc.record({ do: fc.constant('use' as const), number: fc.nat(5) }), fc.record({ do: fc.constant('release' as const), number: fc.nat(5) }),
      fc.record({ do: fc.constant('prune' as const), blocks: fc.nat(24) }),
    )
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
      rmSync(cache, { recursive: true, force: true })
      const marks = new Map<number, Disposable[]>()
      for (const each of steps) {
        if (each.do === 'build' && !existsSync(join(cache, 'images', 'image', digestOf(each.number)))) makeImage(each.number, each.base, each.blocks)
        if (each.do === 'use' && existsSync(join(cache, 'images', 'image', digestOf(each.number)))) marks.set(each.number, [...marks.get(each.number) ?? [], markUsed(cache, 'image', digestOf(each.number))])
        if (each.do === 'release') marks.get(each.number)?.pop()?.[Symbol.dispose]()
        if (each.do !== 'prune') continue
        const used = [...marks].filter(([, all]) => all.length > 0).map(([number]) => digestOf(number))
        const { afterBytes } = await pruneCache(view(), { limitBytes: each.blocks * BLOCK })
        const left = listImages(cache).map(({ digest }) => digest)
        expect(left).toEqual(expect.arrayContaining(used))
        expect(afterBytes).toBe(totalBytes(readCache(view())))
        expect(afterBytes <= each.blocks * BLOCK || left.every((digest) => used.includes(digest))).toBe(true)
      }
    }), { numRuns: 15 })
  })

  test('a part that images share is counted once and goes with the last of them', async () => {
    makeImage(1, 1, 1)
    makeImage(2, 1, 1)
    const [first, second] = readCache(view())
    expect(totalBytes([first!, second!])).toBeLessThan(totalBytes([first!]) + totalBytes([second!]))
    using mark = markUsed(cache, 'image', digestOf(2))
    await pruneCache(view(), { limitBytes: 0 })
    expect(listImages(cache).map(({ digest }) => digest)).toEqual([digestOf(2)])
    expect(readdirSync(join(cache, 'images', 'root'))).toEqual(['base1'])
    mark[Symbol.dispose]()
    await pruneCache(view(), { limitBytes: 0 })
    for (const kind of ['image', 'root', 'debian', 'uses']) expect(readdirSync(join(cache, 'images', kind))).toEqual([])
  })

  test('an image that a template in use was made from stays, and so does one that another living process uses, until that is killed', async () => {
    makeImage(1, 1, 1)
    makeImage(2, 2, 1)
    const other = spawn(process.execPath, ['--input-type=module', '-e', `import { markUsed } from ${JSON.stringify(new URL('./uses.ts', import.meta.url).href)}; markUsed(${JSON.stringify(cache)}, 'image', ${JSON.stringify(digestOf(2))}); console.log('marked'); setInterval(() => {}, 1000)`], { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise((resolve) => other.stdout.once('data', resolve))
    expect((await pruneCache(view([1]), { limitBytes: 0 })).removed).toEqual([])
    other.kill('SIGKILL')
    await new Promise((resolve) => other.once('close', resolve))
    expect((await pruneCache(view([1]), { limitBytes: 0 })).removed.map(({ key }) => key)).toEqual([digestOf(2)])
  })

  test('of an empty cache prunes nothing, and a dry run removes nothing', async () => {
    expect(await pruneCache(view(), { limitBytes: 0 })).toEqual({ removed: [], beforeBytes: 0, afterBytes: 0 })
    makeImage(1, 1, 1)
    expect((await pruneCache(view(), { limitBytes: 0, dryRun: true })).removed).toHaveLength(1)
    expect(listImages(cache)).toHaveLength(1)
  })

  test('whose manifests a power cut left empty or broken says that they are not there, makes a layer again, and prunes them', async () => {
    makeImage(1, 1, 1)
    makeImage(2, 1, 1)
    await makeLayer(1, 'npm ci')
    await makeLayer(1, 'npm install')
    await recordBuild(cache, 'image', 'whole', () => {}, async () => {}, () => digestOf(1))
    const [build] = listBuilds(cache).filter(({ what }) => what === 'image')
    writeFileSync(join(cache, 'images', 'image', digestOf(2), 'image.json'), '')
    writeFileSync(join(cache, 'images', 'layer', layerKey(inputs(1)), 'layer.json'), '{"command":')
    writeFileSync(join(cache, 'images', 'layer', layerKey(inputs(1, 'npm install')), 'layer.json'), '{}')
    writeFileSync(join(cache, 'images', 'builds', build!.id, 'build.json'), '')
    expect([listImages(cache).map(({ digest }) => digest), listLayers(cache), listBuilds(cache).filter(({ what }) => what === 'image')]).toEqual([[digestOf(1)], [], []])
    await makeLayer(1, 'npm ci')
    expect(listLayers(cache)).toMatchObject([{ command: 'npm ci', problem: null }])
    expect((await pruneCache(view(), { limitBytes: Infinity })).removed.map(({ key }) => key).sort()).toEqual([digestOf(2), layerKey(inputs(1, 'npm install'))].sort())
    expect([readdirSync(join(cache, 'images', 'image')), existsSync(join(cache, 'images', 'builds', build!.id))]).toEqual([[digestOf(1)], false])
  })

  test('a layer whose image is gone goes first', async () => {
    makeImage(1, 1, 1)
    await makeLayer(1, 'npm ci')
    await makeLayer(7, 'npm ci')
    expect((await pruneCache(view(), { limitBytes: Infinity })).removed.map(({ kind, useless }) => [kind, useless])).toEqual([['layer', 'its image is gone']])
    expect(listLayers(cache).map(({ imageDigest }) => imageDigest)).toEqual([digestOf(1)])
  })
})

describe('a layer', () => {
  test('is made once for all who ask at the same time, and again for another command, image, repository, disk or lockfile', async () => {
    let made = 0
    const make = async (disk: string) => {
      made += 1
      writeFileSync(disk, 'disk')
    }
    const layers = await Promise.all(Array.from({ length: 4 }, () => ensureLayer(cache, inputs(1), { make })))
    expect(made).toBe(1)
    expect(new Set(layers.map((layer) => layer?.key))).toEqual(new Set([layerKey(inputs(1))]))
    for (const layer of layers) layer?.[Symbol.dispose]()
    const others = [inputs(2), inputs(1, 'npm install'), { ...inputs(1), repository: 'p/other' }, { ...inputs(1), scratchMb: 128 }, { ...inputs(1), inputs: 'y' }]
    expect(new Set([inputs(1), ...others].map(layerKey)).size).toBe(6)
  })

  test('is used but never made for those who may only use it', async () => {
    expect(await ensureLayer(cache, inputs(1), { make: null })).toBeNull()
    await makeLayer(1, 'npm ci')
    using layer = await ensureLayer(cache, inputs(1), { make: null })
    expect(layer?.key).toBe(layerKey(inputs(1)))
  })

  test('that a killed builder left half made is made by the next, and nothing of the first stays', async () => {
    const builder = spawn(process.execPath, ['--input-type=module', '-e', `import { writeFileSync } from 'node:fs'; import { ensureLayer } from ${JSON.stringify(new URL('./layers.ts', import.meta.url).href)}; await ensureLayer(${JSON.stringify(cache)}, ${JSON.stringify(inputs(1))}, { make: (disk) => { writeFileSync(disk, 'half'); console.log('half'); return new Promise(() => {}) } }); setInterval(() => {}, 1000)`, '--input-type=module'], { stdio: ['pipe', 'pipe', 'inherit'] })
    await new Promise((resolve) => builder.stdout.once('data', resolve))
    const waiting = makeLayer(1, 'npm ci')
    builder.kill('SIGKILL')
    await waiting
    expect(listLayers(cache)).toMatchObject([{ problem: null }])
    expect(listBuilds(cache).map(({ outcome }) => outcome).sort()).toEqual(['built', 'ended'])
    await pruneCache(view(), { limitBytes: Infinity })
    expect(readdirSync(join(cache, 'images', 'layer')).filter((name) => name.startsWith('.building'))).toEqual([])
  })

  test('whose builder has had its lock for days is not made by a second one after a pruning', async () => {
    const [begun, finish] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const first = ensureLayer(cache, inputs(1), { make: async (disk) => { writeFileSync(disk, ''); begun.resolve(); await finish.promise } })
    await begun.promise
    const longAgo = new Date(Date.now() - 48 * 3_600_000)
    utimesSync(join(cache, 'images', 'layer', `.lock-${layerKey(inputs(1))}`), longAgo, longAgo)
    await pruneCache(view(), { limitBytes: 0 })
    const second = ensureLayer(cache, inputs(1), { make: () => Promise.reject(new Error('made twice')), onProgress: () => { finish.resolve() } })
    expect((await Promise.all([first, second])).map((layer) => layer?.key)).toEqual([layerKey(inputs(1)), layerKey(inputs(1))])
  })

  test('is waited for no longer than its work goes on', async () => {
    const [begun, finish, stop] = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), new AbortController()]
    const first = ensureLayer(cache, inputs(1), { make: async (disk) => { writeFileSync(disk, ''); begun.resolve(); await finish.promise } })
    await begun.promise
    const waiting = ensureLayer(cache, inputs(1), { make: () => Promise.reject(new Error('made twice')), signal: stop.signal })
    stop.abort(new Error('the work was stopped'))
    await expect(waiting).rejects.toThrow('the work was stopped')
    finish.resolve()
    expect(await first).not.toBeNull()
  })

  test('that came to nothing is not tried by everybody, and a fault of the machine is not kept', async () => {
    const make = () => Promise.reject(new SetupUnsuited('it needs more than its lockfile'))
    expect(await ensureLayer(cache, inputs(1), { make })).toBeNull()
    expect(await ensureLayer(cache, inputs(1), { make: () => Promise.reject(new Error('tried again')) })).toBeNull()
    expect(listLayers(cache)).toMatchObject([{ problem: 'it needs more than its lockfile' }])
    await expect(ensureLayer(cache, inputs(2), { make: () => Promise.reject(new Error('the microVM crashed')) })).rejects.toThrow('the microVM crashed')
    expect(await ensureLayer(cache, inputs(2), { make: async (disk) => writeFileSync(disk, '') })).not.toBeNull()
  })
})

describe('the log of a build', () => {
  test('is kept with how it ended, bounded, and without passwords of addresses', async () => {
    await recordBuild(cache, 'image', 'python3', () => {}, async ({ log }) => { log('deb https://user:secret@packages.example bookworm'); for (let line = 0; line < 40_000; line++) log('x'.repeat(99)) }, () => 'key1')
    await expect(recordBuild(cache, 'image', 'broken', () => {}, async ({ log }) => { log('the end'); throw new Error('tar failed') }, String)).rejects.toThrow('tar failed')
    const [failed, built] = listBuilds(cache).sort((a, b) => (a.outcome < b.outcome ? 1 : -1))
    expect([built, failed]).toMatchObject([{ outcome: 'built', key: 'key1', about: 'python3' }, { outcome: 'failed', problem: 'tar failed' }])
    expect(readBuildLog(built!).length).toBeLessThan(2.2 * 1024 ** 2)
    expect(readBuildLog(failed!)).toContain('the end\n# failed: tar failed')
    expect(readBuildLog(failed!) + readBuildLog(built!)).not.toContain('secret')
  })

  test('goes when its image is gone and twenty newer ones of the kind are there', async () => {
    for (let number = 0; number < 25; number++) await recordBuild(cache, 'image', `image ${number}`, () => {}, async () => {}, () => digestOf(number))
    makeImage(3, 1, 1)
    await pruneCache(view(), { limitBytes: Infinity })
    const left = listBuilds(cache)
    expect(left).toHaveLength(21)
    expect(left.map(({ key }) => key)).toContain(digestOf(3))
  })
})
