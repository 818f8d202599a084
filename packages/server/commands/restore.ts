import { randomUUID } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { chmod, copyFile, mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { git } from '@swarm/git/run.ts'
import { syncFolder, unpackFile } from '../backup/archive.ts'
import { Manifest, measurePart, partPaths } from '../backup/manifest.ts'
import { loadConfig } from '../config.ts'
import { readSnapshot, renewEpoch, requireSound } from '../db/backup.ts'
import { repositoryPath } from '../integrations/builtin-code-host/bare.ts'
import type { CommandContext, CommandOptions } from './main.ts'

/** Of a home folder, what is nobody's work: it does not keep a backup from being restored there. */
const NO_WORK = new Set(['run', 'logs', 'runner', 'backups'])
const SQLITE_MAGIC = 'SQLite format 3\0'

/**
 * Puts a backup into the home folder of the settings. All of it is read and verified before anything there changes; what was there
 * (with `force`) is moved aside into one folder, and nothing is deleted. The caller holds the lock of the home folder.
 * Takes as well a database alone, as it is kept before a migration: then the database is all that changes.
 */
export async function restore({ file = '', force = false }: CommandOptions, { progress, signal }: CommandContext): Promise<object> {
  const { config } = loadConfig()
  const { home } = config
  const startedMs = performance.now()
  if (config.databaseUrl !== undefined) throw new DomainError('backup_unsupported', { home })
  if (!existsSync(file)) throw new DomainError('backup_invalid', { file, problem: 'there is no such file' })
  const alone = await isDatabase(file)
  await mkdir(home, { recursive: true, mode: 0o700 })
  const present = readdirSync(home).filter((name) => !NO_WORK.has(name) && (!alone || /^swarm\.sqlite/.test(name)))
  if (present.length > 0 && !force) throw new DomainError('home_not_empty', { home, found: present.slice(0, 5).join(', ') })

  // The lock of the home folder is ours, so whoever left these was killed.
  for (const name of existsSync(join(home, 'run')) ? readdirSync(join(home, 'run')) : []) if (name.startsWith('restoring-')) await rm(join(home, 'run', name), { recursive: true, force: true })
  const staging = join(home, 'run', `restoring-${randomUUID()}`)
  await mkdir(staging, { recursive: true, mode: 0o700 })
  try {
    progress({ phase: 'unpacking', detail: file })
    const data = join(staging, 'data')
    if (alone) {
      await mkdir(data, { mode: 0o700 })
      await copyFile(file, join(data, 'swarm.sqlite'))
      await chmod(join(data, 'swarm.sqlite'), 0o600)
    } else await unpackFile(file, staging, signal)
    const manifest = alone ? null : await verify(file, staging, progress, signal)
    progress({ phase: 'database', detail: 'whole, and of a Swarm that this one knows' })
    const database = join(data, 'swarm.sqlite')
    if (!existsSync(database)) throw new DomainError('backup_invalid', { file, problem: 'it holds no database' })
    requireSound(database, file)
    const known = readSnapshot(database)
    if (!alone) {
      for (const [index, { projectSlug, slug, defaultBranch }] of known.repositories.entries()) {
        signal.throwIfAborted()
        progress({ phase: 'repositories', detail: `${index + 1} of ${known.repositories.length}: ${projectSlug}/${slug}` })
        const path = repositoryPath(join(data, 'repositories'), projectSlug, slug)
        if (!existsSync(path)) throw new DomainError('backup_invalid', { file, problem: `the repository ${projectSlug}/${slug} is not in it` })
        const whole = await git(path, ['fsck', '--connectivity-only', '--no-dangling', '--no-progress'], { okCodes: [0, 1, 2, 3, 4, 5, 6, 7, 8], signal })
        if (whole.code !== 0) throw new DomainError('backup_invalid', { file, problem: `the repository ${projectSlug}/${slug} is damaged: ${(whole.stderr + whole.stdout).trim().slice(0, 300)}` })
        await git(path, ['rev-parse', '--verify', '--quiet', '--end-of-options', `refs/heads/${defaultBranch}^{commit}`], { signal })
      }
    }
    // Sequence numbers of events are given out again from here: positions that readers kept from before mean other events.
    renewEpoch(database)
    signal.throwIfAborted()
    const aside = present.length === 0 ? null : join(home, `replaced-${new Date().toISOString().replaceAll(/[-:]/g, '').replace('.', '-')}`)
    progress({ phase: 'placing', detail: home })
    if (aside !== null) {
      await mkdir(aside, { mode: 0o700 })
      // The database goes first and comes last: in between the home is one without a database, which nothing can mistake for a whole one.
      for (const name of [...present].sort(byDatabaseFirst)) await rename(join(home, name), join(aside, name))
    }
    for (const name of readdirSync(data).sort(byDatabaseFirst).reverse()) await rename(join(data, name), join(home, name))
    await syncFolder(home)
    return {
      home, file, createdAt: manifest?.createdAt ?? null, migrations: known.migrations, counts: manifest?.counts ?? known.counts, repositories: alone ? null : known.repositories.length, aside,
      wallMs: Math.round(performance.now() - startedMs),
    }
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

const byDatabaseFirst = (a: string, b: string): number => Number(b.startsWith('swarm.sqlite')) - Number(a.startsWith('swarm.sqlite'))

/** @throws DomainError `backup_invalid` when anything is not as the manifest says */
async function verify(file: string, staging: string, progress: CommandContext['progress'], signal: AbortSignal): Promise<Manifest> {
  const manifest = readManifest(file, staging)
  const unexpected = readdirSync(staging).filter((name) => name !== 'manifest.json' && name !== 'data')
  const wanted = new Map(manifest.parts.map((part) => [part.path, part]))
  const found = existsSync(join(staging, 'data')) ? partPaths(join(staging, 'data')) : []
  const strange = [...unexpected, ...found.filter((path) => !wanted.has(path))][0]
  if (strange !== undefined) throw new DomainError('backup_invalid', { file, problem: `it holds ${strange}, which its manifest does not name` })
  for (const part of manifest.parts) {
    signal.throwIfAborted()
    progress({ phase: 'digests', detail: part.path })
    if (!found.includes(part.path)) throw new DomainError('backup_invalid', { file, problem: `${part.path} is missing` })
    const { sha256 } = await measurePart(join(staging, 'data'), part.path)
    if (sha256 !== part.sha256) throw new DomainError('backup_invalid', { file, problem: `${part.path} is not what was backed up` })
  }
  return manifest
}

function readManifest(file: string, staging: string): Manifest {
  try {
    return Manifest.parse(JSON.parse(readFileSync(join(staging, 'manifest.json'), 'utf8')))
  } catch (error) {
    throw new DomainError('backup_invalid', { file, problem: 'its manifest is missing or not one that this Swarm reads' }, { cause: error })
  }
}

async function isDatabase(file: string): Promise<boolean> {
  const handle = await open(file, 'r')
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(SQLITE_MAGIC.length), 0, SQLITE_MAGIC.length, 0)
    return buffer.toString('latin1', 0, bytesRead) === SQLITE_MAGIC
  } finally {
    await handle.close()
  }
}
