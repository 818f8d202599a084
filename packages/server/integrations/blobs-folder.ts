import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { DomainError } from '@swarm/core/errors.ts'
import type { BlobStore } from '../blobs.ts'

const ABANDONED_MS = 24 * 60 * 60 * 1000

/** What a stopped process left half-written; by age, since another server may write here at this moment. */
async function removeAbandoned(incoming: string): Promise<void> {
  for (const name of await readdir(incoming)) {
    const path = join(incoming, name)
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }))
    if (mtimeMs < Date.now() - ABANDONED_MS) await rm(path, { force: true })
  }
}

/** Blobs in a folder: `<folder>/ab/cdef…`. Written beside, flushed and renamed, so that a blob is whole or absent. */
export async function createBlobFolder(folder: string): Promise<BlobStore> {
  const incoming = join(folder, 'incoming')
  await mkdir(incoming, { recursive: true, mode: 0o700 })
  await removeAbandoned(incoming)

  const pathOf = (digest: string): string => {
    const hex = /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1]
    if (hex === undefined) throw new DomainError('blob_not_found', { digest })
    return join(folder, hex.slice(0, 2), hex.slice(2))
  }
  const missing = (digest: string) => (error: NodeJS.ErrnoException): never => {
    throw error.code === 'ENOENT' ? new DomainError('blob_not_found', { digest }, { cause: error }) : error
  }
  const has = (digest: string): Promise<boolean> => stat(pathOf(digest)).then(() => true, (error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return false
    throw error
  })

  return {
    has,
    put: async (content) => {
      const temporary = join(incoming, randomUUID())
      const hash = createHash('sha256')
      let sizeBytes = 0
      try {
        const file = await open(temporary, 'wx', 0o600)
        try {
          for await (const chunk of content instanceof Readable ? content : [content]) {
            const bytes = Buffer.from(chunk as Buffer | string)
            hash.update(bytes)
            sizeBytes += bytes.length
            await file.writeFile(bytes)
          }
          await file.sync()
        } finally {
          await file.close()
        }
        const digest = `sha256:${hash.digest('hex')}`
        // Over the one that may be there: it is the same, and counts as kept now, which saves it from retention.
        const path = pathOf(digest)
        await mkdir(join(path, '..'), { recursive: true, mode: 0o700 })
        await rename(temporary, path)
        return { digest, sizeBytes }
      } finally {
        await rm(temporary, { force: true })
      }
    },
    get: (digest) => readFile(pathOf(digest)).catch(missing(digest)),
    stream: async (digest) => {
      const file = await open(pathOf(digest), 'r').catch(missing(digest))
      return file.createReadStream()
    },
    delete: (digest) => rm(pathOf(digest), { force: true }),
    async deleteOlder(digest, before) {
      const path = pathOf(digest)
      const aside = join(incoming, randomUUID())
      try {
        if ((await stat(path)).mtimeMs >= before) return false
        // Taken away first and looked at again then: whoever keeps it in this moment puts a new one in its place.
        await rename(path, aside)
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return true
        throw error
      }
      if ((await stat(aside)).mtimeMs < before) {
        await rm(aside, { force: true })
        return true
      }
      await rename(aside, path)
      return false
    },
    async* list() {
      for (const first of await readdir(folder)) {
        if (!/^[0-9a-f]{2}$/.test(first)) continue
        for (const rest of await readdir(join(folder, first))) {
          const about = await stat(join(folder, first, rest)).catch(() => null)
          if (about !== null && /^[0-9a-f]{62}$/.test(rest)) yield { digest: `sha256:${first}${rest}`, sizeBytes: about.size, keptAt: about.mtimeMs }
        }
      }
    },
  }
}
