import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { DomainError } from '@swarm/core/errors.ts'
import { processEnvironment } from '../config.ts'

/*
 * A backup is a .tar.gz: by the tar of every distribution, so that a person can open it without Swarm; compressed here, since git
 * objects and packs are compressed already and the fastest level does for the rest.
 */

const STDERR_CHARS = 2_000

/** Writes `members` of `folder` to `file`, whole or not at all, readable for its owner only. @returns its size in bytes */
export async function packFolder(folder: string, members: readonly string[], file: string, signal: AbortSignal): Promise<number> {
  const draft = `${file}.${process.pid}.new`
  try {
    const tar = startTar(['--create', '--file=-', '--format=posix', '--sort=name', '--numeric-owner', '--owner=0', '--group=0', '--directory', folder, '--', ...members])
    await Promise.all([pipeline(tar.child.stdout, createGzip({ level: 1 }), createWriteStream(draft, { flags: 'wx', mode: 0o600 }), { signal }), tar.done])
    const written = await open(draft, 'r+')
    try {
      await written.sync()
    } finally {
      await written.close()
    }
    await rename(draft, file)
    await syncFolder(dirname(file))
  } finally {
    await rm(draft, { force: true })
  }
  const handle = await open(file, 'r')
  try {
    return (await handle.stat()).size
  } finally {
    await handle.close()
  }
}

/** Unpacks an archive into an existing, empty folder. @throws DomainError `backup_invalid` */
export async function unpackFile(file: string, folder: string, signal: AbortSignal): Promise<void> {
  // tar refuses names that lead out of the folder, and makes links last.
  const tar = startTar(['--extract', '--file=-', '--same-permissions', '--no-same-owner', '--directory', folder])
  const [fed, unpacked] = await Promise.allSettled([pipeline(createReadStream(file), createGunzip(), tar.child.stdin, { signal }), tar.done])
  signal.throwIfAborted()
  // tar ends at the end mark and leaves the padding behind it unread, or not, as it happens; what it made is verified by digests.
  const failed = fed.status === 'rejected' && !isClosedEarly(fed.reason) ? fed : unpacked
  if (failed.status === 'fulfilled') return
  const error: unknown = failed.reason
  if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') throw error
  throw new DomainError('backup_invalid', { file, problem: error instanceof Error ? error.message : String(error) }, { cause: error })
}

const isClosedEarly = (error: unknown): boolean => error instanceof Error && 'code' in error && ['EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED'].includes(String(error.code))

function startTar(args: readonly string[]) {
  const child = spawn('tar', args, { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: processEnvironment()['PATH'] ?? '', LC_ALL: 'C' } })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr = (stderr + text).slice(-STDERR_CHARS) })
  // What ends it early is told by its exit code and words.
  child.stdin.on('error', () => undefined)
  const done = once(child, 'close').then(([code]) => {
    if (code !== 0) throw new Error(`tar ended with code ${String(code)}: ${stderr.trim()}`)
  })
  done.catch(() => undefined)
  return { child, done }
}

/** Makes what was renamed in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
