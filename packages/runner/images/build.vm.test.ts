import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { run } from '../host/run.ts'
import { testCache } from '../vms/testing.ts'
import type { BuildProgress } from './image.ts'
import { ensureImage, listImages } from './images.ts'
import { readInputs } from './inputs.ts'

// Builds keep both cores busy, so these run with the microVM tests, one file at a time. They start from the cached stage of the
// distribution's packages or stop early in it: what is left takes seconds.
const BUILDER = fileURLToPath(new URL('./testing-builder.ts', import.meta.url))
const SWARM = fileURLToPath(new URL('../../../bin/swarm.mjs', import.meta.url))

let folder: string
const started: ChildProcess[] = []
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'swarm-build-test-')) })
afterEach(async () => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
  await expect.poll(() => processesNaming(folder)).toEqual([])
  for (const path of mountsBelow(folder)) await run(['umount', path])
  rmSync(folder, { recursive: true, force: true })
})

/** Starts a builder of its own process; `until` resolves at the first line that is this one. */
function builder(...argv: string[]) {
  const child = spawn(process.execPath, [BUILDER, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] })
  started.push(child)
  const lines: string[] = []
  const waiting: { line: string; resolve: () => void }[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    for (const each of waiting) if (each.line === line) each.resolve()
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)))
  return { child, lines, ended, until: (line: string) => new Promise<void>((resolve) => void waiting.push({ line, resolve })) }
}

const mountsBelow = (path: string) => readFileSync('/proc/mounts', 'utf8').split('\n').map((line) => line.split(' ')[1] ?? '').filter((place) => place.startsWith(`${path}/`)).reverse()

/** Command lines of living processes that name this path. */
function processesNaming(path: string): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      return words.includes(path) ? [words] : []
    } catch {
      return [] // ended meanwhile
    }
  })
}

/** The stage of the distribution's packages for this machine, from the cache that all tests share. */
async function cachedDebian(): Promise<string> {
  const path = join(testCache(), 'images', 'debian', (await readInputs({}, [])).debianKey)
  if (!existsSync(path)) await ensureImage({ cache: testCache() })
  return path
}

async function mountSmall(sizeMb: number): Promise<{ cache: string; resize(sizeMb: number): Promise<void> }> {
  const cache = join(folder, 'small')
  mkdirSync(cache)
  const mount = async (options: string) => expect(await run(['mount', '-t', 'tmpfs', '-o', options, 'swarm-test', cache])).toMatchObject({ code: 0 })
  await mount(`size=${sizeMb}m`)
  return { cache, resize: (mb) => mount(`remount,size=${mb}m`) }
}

describe('a build that is killed with -9', () => {
  test('takes its tools with it, and what they mounted, even if they ignore signals', async () => {
    const { child, until, ended } = builder('step', folder, '/bin/sh', '-c', 'trap "" TERM INT HUP; mkdir "$0/mounted"; mount -t tmpfs swarm-test "$0/mounted"; touch "$0/mounted/file"; echo mounted >&2; sleep 98761 & while :; do wait; done', folder)
    await until('mounted')
    child.kill('SIGKILL')
    await ended
    await expect.poll(() => processesNaming(folder)).toEqual([])
    expect(mountsBelow(folder)).toEqual([])
    expect(readdirSync(join(folder, 'mounted'))).toEqual([])
  })

  test('leaves no image, and two builders that come next build it once, whole', async () => {
    const [cache, debian] = [join(folder, 'cache'), await cachedDebian()]
    mkdirSync(join(cache, 'images', 'debian'), { recursive: true })
    expect(await run(['cp', '-a', debian, join(cache, 'images', 'debian')])).toMatchObject({ code: 0 })
    const killed = builder('build', cache)
    await killed.until('root')
    await expect.poll(() => readdirSync(join(cache, 'images', 'root')).some((name) => existsSync(join(cache, 'images', 'root', name, 'tree', 'usr'))), { timeout: 20_000 }).toBe(true)
    killed.child.kill('SIGKILL')
    await killed.ended
    expect(listImages(cache)).toEqual([])
    expect(readdirSync(join(cache, 'images', 'root'))).toEqual([expect.stringMatching(/^\.building-/)])

    const progress: BuildProgress[] = []
    const other = builder('build', cache)
    const [image, code] = await Promise.all([ensureImage({ cache, onProgress: (each) => progress.push(each) }), other.ended])
    expect(code).toBe(0)
    expect(other.lines.at(-1)).toBe(`image ${image.digest}`)
    const phases = [progress.map(({ phase }) => phase), other.lines]
    // One of the two has made the base; the other has waited for it.
    expect(phases.map((each) => each.includes('root')).sort()).toEqual([false, true])
    expect(phases.map((each) => each.includes('waiting')).sort()).toEqual([false, true])
    expect(phases.flat()).not.toContain('debian')
    expect(await run(['fsck.erofs', image.root])).toMatchObject({ code: 0 })
    expect(readdirSync(join(cache, 'images', 'root')).filter((name) => name.startsWith('.'))).toEqual([])
    expect(readdirSync(join(cache, 'images', 'image'))).toEqual([image.digest])
  }, 120_000)
})

describe('a disk that fills up during the build', () => {
  test.each([['the packages', 'debian'], ['the base', 'root']] as const)('in the stage of %s is a clear error, and nothing half-made or mounted is left', async (_title, stage) => {
    const { cache, resize } = await mountSmall(1_300)
    if (stage === 'root') {
      const debian = await cachedDebian()
      mkdirSync(join(cache, 'images', 'debian'), { recursive: true })
      symlinkSync(debian, join(cache, 'images', 'debian', basename(debian)))
    }
    let shrunk: Promise<void> | null = null
    // Enough is free when the stage begins; then somebody else takes it.
    const built = ensureImage({ cache, onProgress: ({ phase }) => { if (phase === stage) shrunk ??= resize(48) } })
    await expect(built).rejects.toMatchObject({ code: 'disk_full', details: { purpose: 'The image build', path: expect.stringContaining(cache) } })
    await shrunk
    expect(readdirSync(join(cache, 'images', stage))).toEqual([])
    expect(listImages(cache)).toEqual([])
    expect(mountsBelow(folder)).toEqual([cache])
    expect(processesNaming(cache)).toEqual([])
  }, 90_000)

  test('is told by the command line in one paragraph with the remedy, and an exit code', async () => {
    const { cache } = await mountSmall(8)
    const { code, stdout, stderr } = await run([process.execPath, SWARM, 'image', 'build'], { env: { ...process.env, SWARM_CACHE: cache, SWARM_HOME: join(folder, 'home') } })
    expect(code).not.toBe(0)
    expect(stdout).toBe('')
    expect(stderr).toContain(`needs 1000000000 bytes in ${join(cache, 'images')}`)
    expect(stderr).toContain('set SWARM_CACHE to a folder on a larger disk')
    expect(stderr).not.toContain('    at ')
  }, 30_000)
})
