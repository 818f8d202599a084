import { createHash } from 'node:crypto'
import { createReadStream, lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { DomainError } from '@swarm/core/errors.ts'
import { z } from 'zod'

/** Raised when an older Swarm could not read what is written. */
export const BACKUP_FORMAT = 1

/**
 * `manifest.json`, the first member of a backup; all else is under `data/`, laid out as the home folder is. A part is one entry of
 * the home folder, or one repository; its digest is over one line for each file: SHA-256, mode (octal), path.
 */
export const Manifest = z.object({
  format: z.literal(BACKUP_FORMAT),
  /** Version of the Swarm that made it. */
  swarm: z.string(),
  /** ms since the epoch: the moment that the database is of. */
  createdAt: z.number(),
  dialect: z.literal('sqlite'),
  migrations: z.array(z.string()),
  /** Rows per table, and blobs. */
  counts: z.record(z.string(), z.number().int()),
  parts: z.array(z.object({ path: z.string(), files: z.number().int(), bytes: z.number().int(), sha256: z.string() })),
})
export type Manifest = z.infer<typeof Manifest>
export type Part = Manifest['parts'][number]

/** The parts of a folder that is laid out as a home: its entries, and the repositories one by one. */
export function partPaths(folder: string): string[] {
  return readdirSync(folder).sort().flatMap((name) => {
    if (name !== 'repositories') return [name]
    const projects = readdirSync(join(folder, name)).sort()
    return projects.flatMap((project) => readdirSync(join(folder, name, project)).sort().map((repository) => join(name, project, repository)))
  })
}

/** Reads a part wholly and tells its size and digest. @throws DomainError `backup_invalid` for anything that is no file or folder */
export async function measurePart(folder: string, path: string): Promise<Part> {
  const digest = createHash('sha256')
  let [files, bytes] = [0, 0]
  for (const file of filesUnder(folder, path)) {
    const whole = join(folder, file)
    const hash = createHash('sha256')
    await pipeline(createReadStream(whole), hash)
    const { size, mode } = lstatSync(whole)
    digest.update(`${hash.digest('hex')} ${(mode & 0o777).toString(8)} ${file}\n`)
    files++
    bytes += size
  }
  return { path, files, bytes, sha256: digest.digest('hex') }
}

function filesUnder(folder: string, path: string): string[] {
  const about = lstatSync(join(folder, path))
  if (about.isFile()) return [path]
  if (!about.isDirectory()) throw new DomainError('backup_invalid', { file: folder, problem: `${path} is neither a file nor a folder` })
  return readdirSync(join(folder, path)).sort().flatMap((name) => filesUnder(folder, join(path, name)))
}
