import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { identifyProcess } from '../host/processes.ts'
import { lockFile } from '../host/lock.ts'
import { run } from '../host/run.ts'
import { ensureImage } from './images.ts'
import { directoryEntry, fileEntry, newcArchive } from './newc.ts'
import { asDiskFull, removeLeftovers, requireSpace, runStep, stage } from './stage.ts'
import { IMAGE_TOOLS, missingPackages } from './tools.ts'

const isRoot = process.getuid?.() === 0
let folder: string
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'swarm-image-test-')) })
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const isThere = (path: string) => existsSync(path) || null
const build = () => ({ log: () => {}, logPath: join(folder, 'log') })

describe('a stage', () => {
  test('is there whole or not at all', async () => {
    const target = join(folder, 'debian', 'key')
    await expect(stage(target, isThere, async (temporary) => {
      writeFileSync(join(temporary, 'half'), '')
      throw new Error('killed half-way')
    })).rejects.toThrow('killed half-way')
    expect(readdirSync(join(folder, 'debian'))).toEqual([])
    await stage(target, isThere, async (temporary) => writeFileSync(join(temporary, 'whole'), ''))
    expect(readdirSync(target)).toEqual(['whole'])
  })

  test('that is finished is not built again', async () => {
    const target = join(folder, 'debian', 'key')
    await stage(target, isThere, async () => {})
    await stage(target, isThere, () => Promise.reject(new Error('built twice')))
  })

  test('whose result a power cut left empty is built again', async () => {
    const target = join(folder, 'debian', 'key')
    mkdirSync(target, { recursive: true })
    writeFileSync(join(target, 'result'), '')
    const read = (directory: string) => (existsSync(directory) && readFileSync(join(directory, 'result'), 'utf8')) || null
    expect(await stage(target, read, async (temporary) => writeFileSync(join(temporary, 'result'), 'whole'))).toBe('whole')
  })

  test('that a kill left half-built is removed at the next start', () => {
    mkdirSync(join(folder, 'root', '.building-key', 'tree'), { recursive: true })
    mkdirSync(join(folder, 'root', 'finished'), { recursive: true })
    expect(removeLeftovers(folder)).toEqual([join(folder, 'root', '.building-key')])
    expect(readdirSync(join(folder, 'root'))).toEqual(['finished'])
  })
})

describe('a full disk', () => {
  test.skipIf(!isRoot)('is found before the build starts, with what it needs and what is free', async () => {
    const cache = join(folder, 'small')
    mkdirSync(cache)
    expect((await run(['mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', cache])).code).toBe(0)
    try {
      await expect(ensureImage({ cache })).rejects.toMatchObject({ code: 'disk_full', details: { path: join(cache, 'images'), neededBytes: expect.any(Number), freeBytes: expect.any(Number) } })
      expect(readdirSync(join(cache, 'images', 'debian'))).toEqual([])
    } finally {
      await run(['umount', cache])
    }
  })

  test.skipIf(!isRoot)('is named when a tool or our own writing runs into it', async () => {
    const cache = join(folder, 'small')
    mkdirSync(cache)
    await run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', cache])
    try {
      await expect(runStep('fill', cache, ['dd', 'if=/dev/zero', `of=${join(cache, 'big')}`, 'bs=1M', 'count=4'], build())).rejects.toMatchObject({ code: 'disk_full' })
      expect(asDiskFull(Object.assign(new Error('write'), { code: 'ENOSPC' }), cache)).toMatchObject({ code: 'disk_full' })
      expect(() => requireSpace(cache, 2_000_000, 'The image build')).toThrow(/needs 2000000 bytes/)
    } finally {
      await run(['umount', cache])
    }
  })
})

test('a step that fails says which, and the end of what it said', async () => {
  await expect(runStep('listing', folder, ['ls', '/no/such/folder'], build())).rejects.toMatchObject({ code: 'image_build_failed', details: { step: 'listing', output: expect.stringContaining('/no/such/folder'), log: join(folder, 'log') } })
})

test('a step that is ended by a signal ends with all that it started', async () => {
  const stop = new AbortController()
  const running = runStep('sleeping', folder, ['sh', '-c', 'echo begun >&2; sleep 98762 & sleep 98762'], { ...build(), signal: stop.signal }, { onStderr: () => stop.abort(new Error('not needed')) })
  await expect(running).rejects.toThrow()
  await expect.poll(async () => (await run(['pgrep', '--full', 'sleep 98762'])).stdout).toBe('')
})

test('missing tools are named as the packages to install', () => {
  expect(missingPackages(IMAGE_TOOLS, () => null)).toEqual(['apt', 'busybox-static', 'dpkg', 'erofs-utils', 'kmod', 'mmdebstrap', 'npm', 'tar', 'util-linux'])
  expect(missingPackages(['tar'])).toEqual([])
  // A busybox that needs a dynamic loader is as good as none.
  expect(missingPackages(['busybox'], () => process.execPath)).toEqual(['busybox-static'])
})

test('a package name of swarm.yml that is none is refused with its field', async () => {
  await expect(ensureImage({ cache: folder, extras: { packages: ['python3; rm -rf /'] } })).rejects.toMatchObject({ code: 'invalid_input', details: { field: 'image.packages of swarm.yml' } })
  await expect(ensureImage({ cache: folder, extras: { npm: ['--global'] } })).rejects.toMatchObject({ code: 'invalid_input', details: { field: 'image.npm of swarm.yml' } })
})

test('a lock is waited for, and is gone with a holder that was killed', async () => {
  const path = join(folder, 'lock')
  const holder = spawn(process.execPath, ['--input-type=module', '-e', `import { lockFile } from ${JSON.stringify(new URL('../host/lock.ts', import.meta.url).href)}; await lockFile(${JSON.stringify(path)}); console.log('held'); setInterval(() => {}, 1000)`], { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve) => holder.stdout.once('data', resolve))
  let taken = false
  const waiting = lockFile(path).then((lock) => {
    taken = true
    return lock
  })
  expect(taken).toBe(false)
  expect(identifyProcess(holder.pid ?? 0)).not.toBeNull()
  holder.kill('SIGKILL')
  await (await waiting)[Symbol.asyncDispose]()
})

test('an initramfs archive has its entries in order, aligned, and the same bytes each time', () => {
  const archive = newcArchive([directoryEntry('bin'), fileEntry('bin/tool', Buffer.from('#!/bin/sh\n'), 0o755)])
  const text = archive.toString('latin1')
  expect(text.split('070701')).toHaveLength(4)
  expect(text.slice(0, 30)).toBe('070701' + '00000001' + '000041ed' + '00000000')
  expect(text.indexOf('bin/tool\0')).toBeGreaterThan(text.indexOf('bin\0'))
  expect(archive.length % 4).toBe(0)
  expect(archive.equals(newcArchive([directoryEntry('bin'), fileEntry('bin/tool', Buffer.from('#!/bin/sh\n'), 0o755)]))).toBe(true)
})
