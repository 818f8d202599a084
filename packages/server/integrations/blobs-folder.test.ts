import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { BlobStore } from '../blobs.ts'
import { createBlobFolder } from './blobs-folder.ts'

let folder: string
let blobs: BlobStore
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'swarm-blobs-'))
  blobs = await createBlobFolder(folder)
})
afterEach(() => { rmSync(folder, { recursive: true, force: true }) })

test('a blob is found by the SHA-256 of its content, whole, by text, bytes or stream', async () => {
  const content = Buffer.from('héllo'.repeat(50_000))
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`
  expect(await blobs.put(content)).toEqual({ digest, sizeBytes: content.length })
  expect(await blobs.put(content.toString())).toEqual({ digest, sizeBytes: content.length })
  expect(await blobs.put(Readable.from([content.subarray(0, 7), content.subarray(7)]))).toEqual({ digest, sizeBytes: content.length })
  expect((await blobs.get(digest)).equals(content)).toBe(true)
  expect((await buffer(await blobs.stream(digest))).equals(content)).toBe(true)
  expect(statSync(join(folder, digest.slice(7, 9), digest.slice(9))).mode & 0o777).toBe(0o600)
})

test('a content that breaks off leaves nothing', async () => {
  async function* broken(): AsyncGenerator<string> {
    yield 'half'
    throw new Error('cut')
  }
  await expect(blobs.put(Readable.from(broken()))).rejects.toThrow('cut')
  expect(readdirSync(folder)).toEqual(['incoming'])
  expect(readdirSync(join(folder, 'incoming'))).toEqual([])
})

test('the same content at once from many is one blob', async () => {
  const results = await Promise.all(Array.from({ length: 20 }, () => blobs.put('same')))
  expect(new Set(results.map(({ digest }) => digest)).size).toBe(1)
  expect(await blobs.has(results[0]?.digest ?? '')).toBe(true)
})

test('what is not there, was deleted, or is no digest is blob_not_found', async () => {
  const { digest } = await blobs.put('x')
  await blobs.delete(digest)
  await blobs.delete(digest)
  expect(await blobs.has(digest)).toBe(false)
  await expect(blobs.get(digest)).rejects.toMatchObject({ code: 'blob_not_found' })
  await expect(blobs.stream(digest)).rejects.toMatchObject({ code: 'blob_not_found' })
  await expect((async () => blobs.get('../../etc/passwd'))()).rejects.toMatchObject({ code: 'blob_not_found' })
})

test('a blob that was kept again is not old any more; one that is goes, and is listed until then', async () => {
  const { digest } = await blobs.put('again')
  const limit = Date.now() - 60_000
  const age = (): void => { utimesSync(join(folder, digest.slice(7, 9), digest.slice(9)), 1_000, 1_000) }
  const listed = async () => { const all = []; for await (const blob of blobs.list()) all.push(blob); return all }
  expect(await blobs.deleteOlder(digest, limit)).toBe(false)
  age()
  expect(await listed()).toEqual([{ digest, sizeBytes: 5, keptAt: 1_000_000 }])
  await blobs.put('again')
  expect(await blobs.deleteOlder(digest, limit)).toBe(false)
  expect((await blobs.get(digest)).toString()).toBe('again')
  age()
  expect(await blobs.deleteOlder(digest, limit)).toBe(true)
  expect([await blobs.has(digest), await listed()]).toEqual([false, []])
  expect(await blobs.deleteOlder(digest, limit)).toBe(true)
})
