import { randomUUID } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DomainError } from '@swarm/core/errors.ts'
import { packFolder } from '../backup/archive.ts'
import { collectBlobs, collectRepository, collectSettings } from '../backup/collect.ts'
import { alignMain } from '../backup/main-ref.ts'
import { BACKUP_FORMAT, measurePart, partPaths, type Manifest } from '../backup/manifest.ts'
import { loadConfig } from '../config.ts'
import { readSnapshot, snapshotSqlite } from '../db/backup.ts'
import { repositoryPath } from '../integrations/builtin-code-host/bare.ts'
import { VERSION } from '../version.ts'
import type { CommandContext, CommandOptions } from './main.ts'

/**
 * Writes everything that an installation is to one file, while it runs: the database as it is at one moment, then what it names.
 * Files, commits and blobs are kept before the database names them, so what is gathered after the snapshot holds all of it.
 * @param options.file a file to make (….tar.gz), or an existing folder to make one in; the backups of the home folder unless given
 */
export async function backup({ file: given }: CommandOptions, { progress, signal }: CommandContext): Promise<object> {
  const { config } = loadConfig()
  const { home } = config
  const startedMs = performance.now()
  if (config.databaseUrl !== undefined) throw new DomainError('backup_unsupported', { home })
  const database = join(home, 'swarm.sqlite')
  if (!existsSync(database)) throw new DomainError('nothing_to_back_up', { home })
  const folder = given === undefined ? join(home, 'backups') : given
  if (given === undefined) await mkdir(folder, { recursive: true, mode: 0o700 })
  const inFolder = existsSync(folder) && statSync(folder).isDirectory()
  const file = inFolder ? join(folder, `swarm-${new Date().toISOString().replaceAll(/[-:]/g, '').replace('.', '-')}.tar.gz`) : folder
  // A disk that is not mounted must not end as a file of its name.
  if (!inFolder && (!file.endsWith('.tar.gz') || !existsSync(dirname(file)))) throw new DomainError('backup_folder_missing', { folder: file.endsWith('.tar.gz') ? dirname(file) : file })
  if (existsSync(file)) throw new DomainError('backup_exists', { file })

  await removeAbandoned(join(home, 'backups'))
  const staging = join(home, 'backups', `.gathering-${process.pid}-${randomUUID()}`)
  const data = join(staging, 'data')
  await mkdir(data, { recursive: true, mode: 0o700 })
  try {
    progress({ phase: 'database', detail: 'a copy of one moment' })
    const createdAt = Date.now()
    snapshotSqlite(database, join(data, 'swarm.sqlite'))
    const known = readSnapshot(join(data, 'swarm.sqlite'))
    signal.throwIfAborted()
    progress({ phase: 'settings', detail: 'settings, keys and the admin token' })
    await collectSettings(home, data)
    const realigned: string[] = []
    for (const [index, repository] of known.repositories.entries()) {
      signal.throwIfAborted()
      progress({ phase: 'repositories', detail: `${index + 1} of ${known.repositories.length}: ${repository.projectSlug}/${repository.slug}` })
      const target = repositoryPath(join(data, 'repositories'), repository.projectSlug, repository.slug)
      await collectRepository(repositoryPath(join(home, 'repositories'), repository.projectSlug, repository.slug), target)
      if (alignMain(target, repository.defaultBranch, repository.mains, createdAt) !== null) realigned.push(`${repository.projectSlug}/${repository.slug}`)
    }
    progress({ phase: 'blobs', detail: 'transcripts, model calls and outputs' })
    const blobs = await collectBlobs(home, join(data, 'blobs'))
    const parts = []
    for (const path of partPaths(data)) {
      signal.throwIfAborted()
      progress({ phase: 'digests', detail: path })
      parts.push(await measurePart(data, path))
    }
    const manifest: Manifest = { format: BACKUP_FORMAT, swarm: VERSION, createdAt, dialect: 'sqlite', migrations: known.migrations, counts: { ...known.counts, blobs }, parts }
    await writeFile(join(staging, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 })
    progress({ phase: 'writing', detail: file, bytes: parts.reduce((sum, part) => sum + part.bytes, 0) })
    const bytes = await packFolder(staging, ['manifest.json', 'data'], file, signal)
    return { file, bytes, createdAt, migrations: manifest.migrations, counts: manifest.counts, repositories: known.repositories.length, realigned, wallMs: Math.round(performance.now() - startedMs) }
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

/** What backups that were killed had gathered: it takes no space while the originals are there, and all of theirs once they go. */
async function removeAbandoned(folder: string): Promise<void> {
  for (const name of existsSync(folder) ? await readdir(folder) : []) {
    const pid = Number(/^\.gathering-(\d+)-/.exec(name)?.[1] ?? 0)
    if (pid > 0 && !existsSync(`/proc/${pid}`)) await rm(join(folder, name), { recursive: true, force: true })
  }
}
